"""Fixtures of general use: real models from the cache, the shared data, a clean environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inference.endpoint import Endpoint

from ruvllm import models
from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelMissing

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings and keys of whoever runs the tests do not reach them; tests never fetch anything."""
    for name in list(os.environ):
        if name.startswith("RUVLLM_") and "__" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUVLLM_MODELS__OFFLINE", "true")
    monkeypatch.setenv("RUVLLM_SIGNING_KEY", str(tmp_path_factory.getbasetemp() / "signing.key"))
    yield


@pytest.fixture(scope="session")
def models_config() -> ModelsConfig:
    """The user's own model cache, offline."""
    return ModelsConfig(offline=True)


def _cached(name: str, config: ModelsConfig) -> Path:
    try:
        return models.find(name, config)
    except ModelMissing:
        if os.environ.get("RUVLLM_TEST_NEEDS_MODELS"):
            raise
        command = " --quantization ".join(name.split("@"))
        pytest.skip(f"model {name} is not in the cache: run `ruvllm pull {command}`")


@pytest.fixture(scope="session")
def minilm_dir(models_config: ModelsConfig) -> Path:
    """The real all-MiniLM-L6-v2, converted."""
    return _cached("minilm-l6", models_config)


@pytest.fixture(scope="session")
def smollm2_dir(models_config: ModelsConfig) -> Path:
    """The real SmolLM2-135M-Instruct, converted."""
    return _cached("smollm2-135m", models_config)


@pytest.fixture(scope="session")
def smollm2_float32_dir(models_config: ModelsConfig) -> Path:
    """The same with its weights as they are."""
    return _cached("smollm2-135m@float32", models_config)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Real evaluation data beside the repository; users do not have it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the evaluation data is not beside this checkout")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An own file system of 24 MB, so that a disk can really be full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount one: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def serve() -> Iterator[Callable[[str], Endpoint]]:
    """Start real local endpoints, each in one mode of behaviour; they stop with the test."""
    started: list[Endpoint] = []

    def start(mode: str) -> Endpoint:
        started.append(Endpoint(mode))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the floors of the pyramid among the tests that will run; a test on a real model is an integration test."""
    floors = {"unit": 0, "integration": 0, "e2e": 0}
    for item in session.items:
        kinds = {mark.name for mark in item.iter_markers()}
        floors["e2e" if "e2e" in kinds else "integration" if kinds & {"integration", "real"} else "unit"] += 1
    session.config.stash[_FLOORS] = floors


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how the tests divide into unit, integration and end to end (75 / 20 / 5 is the aim)."""
    floors = config.stash.get(_FLOORS, {})
    total = sum(floors.values())
    if total:
        shares = ", ".join(f"{name} {count} ({100 * count / total:.0f} %)" for name, count in floors.items())
        terminalreporter.write_line(f"tests by floor: {shares}")


_FLOORS: pytest.StashKey[dict[str, int]] = pytest.StashKey()
