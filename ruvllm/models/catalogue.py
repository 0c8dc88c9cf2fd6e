"""The models that can be pulled by name, read from catalogue.toml beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec

__all__ = ["CatalogueEntry", "HubOrigin", "PackageOrigin", "catalogue"]


class PackageOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files inside a wheel of the package index; `files` maps a path under `folder` to its sha256."""

    name: str
    version: str
    folder: str
    files: dict[str, str]

    def __str__(self) -> str:
        return f"package:{self.name}=={self.version}"


class HubOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files of a Hugging Face repository."""

    repo: str
    revision: str = "main"
    files: tuple[str, ...] = ("*.json", "*.safetensors", "chat_template.jinja")

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.revision}"


class CatalogueEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model that `pull` knows; exactly one of `package` and `hub` is set."""

    name: str = ""
    task: Literal["generate", "embed"]
    family: Literal["llama", "bert", "lfm2"]
    tier: int | None = None
    parameters: int
    license: str
    description: str
    download_bytes: int
    package: PackageOrigin | None = None
    hub: HubOrigin | None = None

    def __post_init__(self) -> None:
        if (self.package is None) == (self.hub is None):
            raise ValueError(f"{self.name}: exactly one of package and hub must be set")

    @property
    def origin(self) -> PackageOrigin | HubOrigin:
        """Where the files come from."""
        origin = self.package or self.hub
        assert origin is not None
        return origin


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return name -> entry, in the file's order."""
    raw = (files("ruvllm.models") / "catalogue.toml").read_bytes()
    entries = msgspec.toml.decode(raw, type=dict[str, CatalogueEntry])
    return MappingProxyType({name: msgspec.structs.replace(entry, name=name) for name, entry in entries.items()})
