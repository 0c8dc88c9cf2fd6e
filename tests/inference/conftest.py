"""Engines and endpoints for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ruvllm.inference import Engine
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.inference.remote import RemoteEngine

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
    """The real SmolLM2-135M, loaded once."""
    engine = CTranslate2Engine(smollm2_dir, context_tokens=512)
    yield engine
    engine.close()


@pytest.fixture(params=["echo", "remote", pytest.param("ctranslate2", marks=pytest.mark.real)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each implementation of the protocol."""
    if request.param == "ctranslate2":
        yield request.getfixturevalue("smollm2")
        return
    if request.param == "echo":
        made: Engine = EchoEngine()
    else:
        made = RemoteEngine(request.getfixturevalue("serve")("ok").location, context_tokens=512, timeout_s=10)
    yield made
    made.close()
