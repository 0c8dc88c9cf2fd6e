"""Whether a student may be tried on people."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference.fakes import EchoEngine

from ruvllm.errors import ModelDamaged
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


def holdout(n: int = 160) -> HoldoutDataset:
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


def test_the_bounds_of_a_share_are_exact() -> None:
    beta = pytest.importorskip("scipy.stats").beta
    (gate,) = ValidationResult(metrics(changed(wrong=5)), metrics()).gates
    n = len(RIGHT)
    assert gate.loss.value == pytest.approx(5 / n)
    assert gate.loss.high == pytest.approx(beta.ppf(0.95, 6, n - 5), abs=0.001)  # Clopper and Pearson


@pytest.mark.parametrize("wrong", [0.021, 0.041, 0.121])
def test_a_student_that_is_worse_is_seldom_approved_however_few_were_asked(wrong: float) -> None:
    rng = np.random.default_rng(0)
    for n in (150, 310):
        losses = rng.choice([1.0, -1.0, 0.0], (100, n), p=[wrong, wrong - 0.021, 1.021 - 2 * wrong])
        right = np.ones(n)
        results = (ValidationResult(metrics(right - one), metrics(right)) for one in losses)
        assert sum(result.approved_for_deployment() for result in results) <= 11  # 5 are expected at most, +- 2


def test_the_bounds_of_a_ratio_are_those_of_a_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    logs = np.random.default_rng(0).normal(0.1, 0.3, 400)
    student, baseline = (
        Metrics(1.0, perplexity=float(np.exp(of.mean())), by_question={"perplexity": of})
        for of in (logs, np.zeros(400))
    )
    wanted = stats.bootstrap((logs,), np.mean, confidence_level=0.9, method="percentile", rng=0).confidence_interval
    loss = {gate.metric: gate.loss for gate in ValidationResult(student, baseline).gates}["perplexity"]
    assert (loss.low, loss.high) == pytest.approx(tuple(np.expm1(wanted)), abs=0.005)


def test_few_questions_prove_nothing() -> None:
    few = metrics(RIGHT[:50])
    assert ValidationResult(few, few).reasons() == ("too_few_questions", "accuracy_not_proven")
    assert ValidationResult(few, few, Limits(questions=50)).reasons() == ("accuracy_not_proven",)
    assert ValidationResult(few, few, Limits(questions=50, accuracy=0.1)).approved_for_deployment()


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
    said = json.loads(json.dumps(ValidationResult(metrics(changed(40)), metrics()).evidence()))
    assert said["reasons"] == ["accuracy_regression"] and said["questions"] == 400
    assert said["gates"]["accuracy"]["loss"]["low"] > 0.0


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How the real model is asked: few questions, a short text."""
    text = tmp_path_factory.mktemp("validation") / "general.txt"
    text.write_text(GENERAL * 8)
    items = [
        HoldoutItem(word, (Message("user", f"Repeat this word and nothing else: {word}"),), (word,)) for word in WORDS
    ]
    return {
        "holdout": HoldoutDataset(tuple(items)),
        "text": text,
        "windows": 8,
        "window_tokens": 64,
        "limits": Limits(0.25, 0.25, refusal_rate=0.25, format_rate=0.25, questions=len(items), latency_ms=5.0),
        "options": GenerationOptions(max_new_tokens=4),
        "num_threads": 1,
    }


@pytest.mark.real
def test_a_model_is_as_good_as_itself(smollm2_dir: Path, asking: dict[str, Any]) -> None:
    result = validate(smollm2_dir, smollm2_dir, **asking)
    assert result.approved_for_deployment(), result.rejection_reason()
    assert {"perplexity", "bytes", "accuracy"} <= {gate.metric for gate in result.gates}


@pytest.mark.real
def test_a_planted_bad_student_is_refused(smollm2_dir: Path, tmp_path: Path, asking: dict[str, Any]) -> None:
    """A real model some of whose weights were shuffled still answers, and is refused for what it says."""
    result = validate(plant(smollm2_dir, tmp_path / "bad", layers=range(13, 16)), smollm2_dir, **asking)
    assert not result.approved_for_deployment()
    assert "perplexity_regression" in result.reasons()


@pytest.mark.real
def test_a_file_that_is_damaged_is_no_student(smollm2_dir: Path, tmp_path: Path, asking: dict[str, Any]) -> None:
    damaged = shutil.copytree(smollm2_dir, tmp_path / "damaged")
    with (damaged / "model.bin").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(ModelDamaged):
        validate(damaged, smollm2_dir, **asking)


@pytest.mark.real
def test_models_that_read_other_tokens_do_not_compare(
    smollm2_dir: Path, tmp_path: Path, asking: dict[str, Any]
) -> None:
    other = shutil.copytree(smollm2_dir, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="one tokenizer"):
        validate(other, smollm2_dir, **asking)


def test_a_result_travels_between_processes() -> None:
    result = ValidationResult(metrics(changed(40)), metrics())
    assert pickle.loads(pickle.dumps(result)).reasons() == result.reasons()


WORDS = "river apple stone cloud garden winter window silver music bridge paper candle".split()
GENERAL = """The river rises in the hills north of the town and runs south through a wide valley to the sea. Its water
drove the mills that made the town rich, and most of the bridges that cross it were paid for by their owners. Today the
mills are museums, and the valley is a park in which people walk, fish and watch birds.
"""
