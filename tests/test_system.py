"""What the system makes of its arguments; answering is tested with the pipeline and in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

import ruvllm
from ruvllm.config import Config, ModelsConfig, RouterConfig


def test_a_promise_turns_certified_mode_on(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path, quality_floor=0.8, risk=0.1, confidence=0.95, latency_sla_ms=1500) as llm:
        router = llm.config.router
    promised = (router.quality_floor, router.risk, router.certificate_confidence, router.latency_sla_ms)
    assert router.certified and promised == (0.8, 0.1, 0.95, 1500)


def test_a_promise_is_added_to_a_given_configuration(tmp_path: Path) -> None:
    config = Config(router=RouterConfig(explore=0.125))
    with ruvllm.open(tmp_path, config=config, risk=0.25) as llm:
        assert llm.config.router == RouterConfig(explore=0.125, risk=0.25, certified=True)


def test_nothing_is_promised_unasked(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        assert llm.config.router == RouterConfig()


@pytest.mark.parametrize("config", [None, Config()])
def test_a_promise_out_of_range_is_refused_by_name(tmp_path: Path, config: Config | None) -> None:
    with pytest.raises(ValueError, match=r"router\.risk must be in \(0, 1\)"):
        ruvllm.open(tmp_path, config=config, risk=2.0)


def test_several_tiers_have_a_router_unless_it_is_switched_off(tmp_path: Path) -> None:
    tiers = ModelsConfig(tiers=("smollm2-135m", "smollm2-360m"), offline=True)
    with ruvllm.open(tmp_path / "a", config=Config(models=tiers)) as llm:
        assert llm._router is not None
    with ruvllm.open(tmp_path / "b", config=Config(models=tiers, router=RouterConfig(enabled=False))) as llm:
        assert llm._router is None
    with ruvllm.open(tmp_path / "c", config=Config(models=ModelsConfig(tiers=tiers.tiers[:1]))) as llm:
        assert llm._router is None
