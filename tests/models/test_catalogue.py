"""The catalogue is complete and honest about what works."""

from __future__ import annotations

import re

import msgspec
import pytest

from ruvllm.config import Config
from ruvllm.models import catalogue
from ruvllm.models.catalogue import CatalogueEntry

ENTRIES = list(catalogue().values())


def test_default_models_are_there_and_pinned() -> None:
    defaults = Config()
    for name, task in ((defaults.generation.model, "generate"), (defaults.embedding.model, "embed")):
        entry = catalogue()[name]
        assert entry.task == task and entry.package is not None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entry_is_plausible(entry: CatalogueEntry) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", entry.name)
    assert entry.license and entry.description and entry.parameters > 1e6 and entry.download_bytes > 1e7
    assert (entry.tier is None) == (entry.task == "embed")


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.package], ids=lambda entry: entry.name)
def test_package_files_carry_a_sha256_and_an_exact_version(entry: CatalogueEntry) -> None:
    assert entry.package is not None
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in entry.package.files.values())
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", entry.package.version)


def test_the_lfm2_family_comes_from_the_hub() -> None:
    names = {e.name for e in ENTRIES if e.family == "lfm2"}
    assert {"lfm2-350m", "lfm2-700m", "lfm2-1.2b", "lfm2-2.6b", "lfm2.5-350m", "lfm2.5-1.2b"} <= names
    assert all(e.hub and e.license == "lfm1.0" for e in ENTRIES if e.family == "lfm2")


def test_tiers_follow_the_number_of_parameters() -> None:
    generating = sorted((e for e in ENTRIES if e.tier is not None), key=lambda e: e.parameters)
    tiers = [e.tier for e in generating]
    assert tiers == sorted(tiers)  # type: ignore[type-var]


def test_entry_needs_exactly_one_origin() -> None:
    raw = msgspec.to_builtins(ENTRIES[0]) | {"package": None}
    with pytest.raises(msgspec.ValidationError, match="exactly one of package and hub"):
        msgspec.convert(raw, CatalogueEntry)
