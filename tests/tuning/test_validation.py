"""Whether a student may be tried on people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference.fakes import EchoEngine

from ruvllm.inference import Piece
from ruvllm.tuning.validation import (
    HoldoutDataset,
    HoldoutItem,
    Limits,
    Metrics,
    ValidationResult,
    validate,
    validate_engines,
)
from ruvllm.types import GenerationOptions, Message
from tuning.planted import plant

RNG = np.random.default_rng(0)
RIGHT = (RNG.random(400) < 0.8).astype(float)


def metrics(right: np.ndarray = RIGHT, **others: object) -> Metrics:
    return Metrics(accuracy=float(right.mean()), by_question={"accuracy": right}, **others)  # type: ignore[arg-type]


def changed(wrong: int, right: int = 0) -> np.ndarray:
    """Return RIGHT with so many right answers made wrong and wrong ones made right."""
    values = RIGHT.copy()
    values[np.flatnonzero(RIGHT == 1.0)[:wrong]] = 0.0
    values[np.flatnonzero(RIGHT == 0.0)[:right]] = 1.0
    return values


def holdout(n: int = 120) -> HoldoutDataset:
    items = [HoldoutItem(f"{i}", (Message("user", f"say number {i}"),), (f"say number {i}",)) for i in range(n)]
    return HoldoutDataset(tuple(items))


class Mumbling(EchoEngine):
    """Says something else to every third question."""

    def stream(self, messages: Sequence[Message], options: GenerationOptions, **more: object) -> Iterator[Piece]:
        if int(messages[-1].content.split()[-1]) % 3 == 0:
            messages = (Message("user", "I'm sorry, I don't know"),)
        return super().stream(messages, options, **more)  # type: ignore[arg-type]


def test_student_validation_gates_deployment() -> None:
    validation = ValidationResult(0.78, 0.85)
    assert not validation.approved_for_deployment()
    assert "accuracy" in validation.rejection_reason()
    assert validation.reasons() == ("accuracy_regression",)


def test_a_student_as_accurate_is_approved() -> None:
    validation = ValidationResult(0.85, 0.85)
    assert validation.approved_for_deployment() and validation.rejection_reason() == ""


@pytest.mark.parametrize(
    ("student", "reasons"),
    [
        (changed(wrong=0), ()),
        (changed(wrong=5, right=20), ()),
        (changed(wrong=20, right=20), ("accuracy_not_proven",)),  # as good, and too few to say so
        (changed(wrong=40), ("accuracy_regression",)),
    ],
)
def test_a_student_must_be_proven_not_worse(student: np.ndarray, reasons: tuple[str, ...]) -> None:
    assert ValidationResult(metrics(student), metrics()).reasons() == reasons


def test_the_bounds_are_those_of_a_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    difference = RIGHT - changed(wrong=20, right=10)
    wanted = stats.bootstrap((difference,), np.mean, confidence_level=0.9, method="percentile", rng=0)
    (gate,) = ValidationResult(metrics(changed(wrong=20, right=10)), metrics()).gates
    assert gate.loss.value == pytest.approx(difference.mean())
    assert (gate.loss.low, gate.loss.high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.003)


def test_few_questions_prove_nothing() -> None:
    few = metrics(RIGHT[:50])
    assert ValidationResult(few, few).reasons() == ("too_few_questions",)
    assert ValidationResult(few, few, Limits(questions=50)).approved_for_deployment()


@pytest.mark.parametrize(
    ("name", "student", "baseline", "is_good"),
    [
        ("perplexity", 20.3, 20.0, True),
        ("perplexity", 20.5, 20.0, False),
        ("perplexity", float("inf"), 20.0, False),
        ("refusal_rate", 0.05, 0.0, False),
        ("refusal_rate", 0.0, 0.05, True),
        ("format_rate", 0.8, 0.9, False),
        ("judge_quality", 0.7, 0.8, False),
        ("f1", 0.5, 0.6, False),
        ("latency_ms", 130.0, 100.0, False),
        ("latency_ms", 110.0, 100.0, True),
        ("bytes", 200, 100, False),
    ],
)
def test_every_metric_has_its_gate(name: str, student: float, baseline: float, is_good: bool) -> None:
    result = ValidationResult(metrics(**{name: student}), metrics(**{name: baseline}))
    assert result.reasons() == (() if is_good else (f"{name}_regression",))


def test_what_only_one_was_measured_in_is_a_reason() -> None:
    result = ValidationResult(metrics(), metrics(perplexity=20.0))
    assert result.reasons() == ("perplexity_not_measured",) and "perplexity" in result.rejection_reason()


def test_forgetting_is_bounded_over_windows() -> None:
    nats = RNG.normal(3.0, 0.2, 32)
    baseline = replace(metrics(perplexity=20.0), by_question={"accuracy": RIGHT, "perplexity": nats})
    student = replace(metrics(perplexity=20.1), by_question={"accuracy": RIGHT, "perplexity": nats + 0.01})
    gate = ValidationResult(student, baseline).gates[1]
    assert gate.loss.value == pytest.approx(np.expm1(0.01)) and gate.reason == ""
    broken = replace(student, by_question={"accuracy": RIGHT, "perplexity": np.full(32, np.nan)})
    assert ValidationResult(broken, baseline).reasons() == ("perplexity_regression",)


def test_answers_to_other_questions_do_not_compare() -> None:
    with pytest.raises(ValueError, match="same questions"):
        ValidationResult(metrics(), metrics(RIGHT[:300]))


def test_an_accuracy_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="accuracy"):
        ValidationResult(78.0, 0.85)


def test_engines_are_asked_and_compared() -> None:
    loose = Limits(latency_ms=50.0)  # microseconds say nothing
    same = validate_engines(EchoEngine(), EchoEngine(), holdout(), limits=loose)
    assert same.approved_for_deployment() and same.holdout == holdout().sha256
    worse = validate_engines(Mumbling(), EchoEngine(), holdout(), limits=loose)
    assert {"accuracy_regression", "f1_regression", "refusal_rate_regression"} <= set(worse.reasons())


def test_a_judge_is_asked_too() -> None:
    result = validate_engines(EchoEngine(), EchoEngine(), holdout(), judge=lambda item, text: 0.75)
    assert {gate.metric: gate.student for gate in result.gates}["judge_quality"] == 0.75
    with pytest.raises(ValueError, match="judge"):
        validate_engines(EchoEngine(), EchoEngine(), holdout(), judge=lambda item, text: 2.0)


def test_the_evidence_is_plain_values() -> None:
    import json

    said = json.loads(json.dumps(ValidationResult(metrics(changed(40)), metrics()).evidence()))
    assert said["reasons"] == ["accuracy_regression"] and said["questions"] == 400
    assert said["gates"]["accuracy"]["loss"]["low"] > 0.0


@pytest.mark.real
def test_a_planted_bad_student_is_refused(smollm2_dir: Path, tmp_path: Path) -> None:
    """A real model some of whose weights were shuffled still answers, and is refused for what it says."""
    bad = plant(smollm2_dir, tmp_path / "bad", layers=range(13, 16))
    text = tmp_path / "general.txt"
    text.write_text(GENERAL * 8)
    asked = [f"Repeat this word and nothing else: {word}" for word in WORDS]
    items = [
        HoldoutItem(str(i), (Message("user", q),), (w,)) for i, (q, w) in enumerate(zip(asked, WORDS, strict=True))
    ]
    loose = Limits(questions=len(items), latency_ms=5.0)
    options = GenerationOptions(max_new_tokens=6)
    asking = {"text": text, "windows": 8, "window_tokens": 64, "limits": loose, "options": options, "num_threads": 1}
    result = validate(bad, smollm2_dir, HoldoutDataset(tuple(items)), **asking)  # type: ignore[arg-type]
    assert not result.approved_for_deployment()
    assert "perplexity_regression" in result.reasons()


WORDS = "river apple stone cloud garden winter window silver music bridge paper candle".split()
GENERAL = """The river rises in the hills north of the town and runs south through a wide valley to the sea. Its water
drove the mills that made the town rich, and most of the bridges that cross it were paid for by their owners. Today the
mills are museums, and the valley is a park in which people walk, fish and watch birds.
"""
