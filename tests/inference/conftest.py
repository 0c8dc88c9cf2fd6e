"""Engines and endpoints for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import converted

from ruvllm.inference import Engine
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.inference.remote import RemoteEngine
from ruvllm.inference.runtime_engine import RuntimeEngine

from .endpoint import Endpoint
from .fakes import EchoEngine


@pytest.fixture
def serve() -> Iterator[Callable[[str], Endpoint]]:
    """Start endpoints that stop with the test."""
    endpoints: list[Endpoint] = []

    def start(mode: str = "ok") -> Endpoint:
        endpoints.append(Endpoint(mode))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.close()


@pytest.fixture(scope="session")
def smollm2(smollm2_dir: Path) -> Iterator[CTranslate2Engine]:
    """The real SmolLM2-135M through CTranslate2, loaded once."""
    engine = CTranslate2Engine(smollm2_dir, context_tokens=512)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def reader(smollm2_dir: Path) -> Iterator[RuntimeEngine]:
    """The real SmolLM2-135M through our runtime, loaded once."""
    engine = RuntimeEngine(smollm2_dir, context_tokens=512)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama that says ASCII only."""
    return converted.decoder(tmp_path_factory.mktemp("llama"), ascii_only=True)


@pytest.fixture(scope="session")
def tiny_lfm2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LFM2 that says ASCII only."""
    return converted.lfm2(tmp_path_factory.mktemp("lfm2"), ascii_only=True)


@pytest.fixture
def tiny_llama(tiny_llama_dir: Path) -> Iterator[RuntimeEngine]:
    """The random Llama, loaded."""
    engine = RuntimeEngine(tiny_llama_dir, context_tokens=512)
    yield engine
    engine.close()


@pytest.fixture
def tiny_lfm2(tiny_lfm2_dir: Path) -> Iterator[RuntimeEngine]:
    """The random LFM2, loaded."""
    engine = RuntimeEngine(tiny_lfm2_dir, context_tokens=512)
    yield engine
    engine.close()


ENGINES = {"runtime": "reader", "ctranslate2": "smollm2", "tiny llama": "tiny_llama", "tiny lfm2": "tiny_lfm2"}
REAL = [pytest.param(name, marks=pytest.mark.real) for name in ("runtime", "ctranslate2")]


@pytest.fixture(params=["echo", "remote", "tiny llama", "tiny lfm2", *REAL])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each implementation of the protocol, and the runtime with each kind of decoder."""
    if request.param in ENGINES:
        yield request.getfixturevalue(ENGINES[request.param])
        return
    if request.param == "echo":
        made: Engine = EchoEngine()
    else:
        made = RemoteEngine(request.getfixturevalue("serve")("ok").location, context_tokens=512, timeout_s=10)
    yield made
    made.close()
