"""Every tier answers every question once, however often a run is ended; the log says what it did and what that took."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference.fakes import EchoEngine

from ruvllm.bench.ladder import run
from ruvllm.bench.ladder_report import roc_auc
from ruvllm.config import load_config
from ruvllm.inference.runtime_engine import Probe
from ruvllm.types import Message

CONFIG = load_config(environment={})
MODELS = ["small", "large"]


class EchoTier(EchoEngine):
    """Says the last message again; "large" thinks the longest choice the likeliest, others the first."""

    def probe(self, messages: Sequence[Message], *, max_tokens: int = 64) -> Probe:
        return Probe(0.5, 0.25, 1.0, -2.0)

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        self.asked.append(tuple(messages))
        if self.name == "large":
            return [math.log(len(answer)) for answer in answers]
        return [-float(i) for i in range(len(answers))]


class Opener:
    """Opens tiers and keeps them."""

    def __init__(self) -> None:
        self.tiers: dict[str, EchoTier] = {}

    def __call__(self, model: str, generation: Any, models: Any) -> EchoTier:
        self.threads = generation.num_threads
        self.tiers[model] = EchoTier(name=model)
        return self.tiers[model]

    def count(self) -> int:
        return sum(len(tier.asked) for tier in self.tiers.values())


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    """Three requests, of intents that are the longest of all each, and two problems."""
    intents = [{"id": f"i{i}", "text": f"do {i}", "intent": f"{i}" + "x" * i, "domain": "d"} for i in range(3)]
    problems = [{"id": f"p{i}", "prompt": f"Say {i}", "reference": "1", "worked_solution": ""} for i in range(2)]
    for name, rows in (("intents", intents), ("sums", problems)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [tmp_path / "intents.jsonl", tmp_path / "sums.jsonl"]


def logged(out: Path) -> dict[str, dict[str, Any]]:
    with gzip.open(out, "rt") as file:
        return {row["id"]: row for row in map(json.loads, file)}


def test_a_line_says_what_every_tier_did(data: list[Path], tmp_path: Path) -> None:
    run(data, MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    row = logged(tmp_path / "l.jsonl.gz")["p1"]
    assert (row["benchmark"], row["prompt"], row["references"]) == ("sums", "Say 1", ["1"])
    assert row["answer"] == {"small": "Say 1", "large": "Say 1"}
    assert row["score"] == {"small": 1, "large": 1}
    assert row["completion_tokens"] == {"small": 2, "large": 2}
    assert all(row["latency_ms"][m] > 0.0 and row["cost"][m] >= 0.0 for m in MODELS)
    assert row["probe"]["num_tokens"] == 3 and row["probe"]["mean_logprob"] == -2.0
    assert row["answer_logprob"]["small"]["min"] == pytest.approx(math.log(0.9))


def test_the_likeliest_choice_is_the_answer(data: list[Path], tmp_path: Path) -> None:
    run(data[:1], MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    row = logged(tmp_path / "l.jsonl.gz")["i2"]
    assert row["answer"] == {"small": row["choices"][0], "large": "2xx"}
    assert row["score"]["large"] == 1
    assert row["answer_logprob"]["large"]["mean"] == pytest.approx(math.log(3 / 6))


def test_tiers_answer_one_question_before_the_next(data: list[Path], tmp_path: Path) -> None:
    opener, done = Opener(), []
    run(
        data,
        MODELS,
        tmp_path / "l.jsonl.gz",
        config=CONFIG,
        open=opener,
        on_progress=lambda what, i, total: done.append((i, total, opener.count())),
    )
    assert done == [(i, 5, 2 * i) for i in range(1, 6)]


def test_an_ended_run_goes_on_where_it_stopped(data: list[Path], tmp_path: Path) -> None:
    out, opener = tmp_path / "l.jsonl.gz", Opener()

    def end(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, MODELS, out, config=CONFIG, open=Opener(), on_progress=end)
    with (tmp_path / "l.jsonl").open("a") as file:
        file.write('{"id":"i0","bench')
    run(data, MODELS, out, config=CONFIG, open=opener)
    assert opener.count() == 2 * (5 - 3)
    assert len(logged(out)) == 5


def test_a_whole_log_is_only_reported(data: list[Path], tmp_path: Path) -> None:
    out, opener = tmp_path / "l.jsonl.gz", Opener()
    first = run(data, MODELS, out, config=CONFIG, open=Opener())
    assert run(data, MODELS, out, config=CONFIG, open=opener).rows == first.rows
    assert not opener.tiers


def test_more_questions_are_added_to_those_there(data: list[Path], tmp_path: Path) -> None:
    out, opener = tmp_path / "l.jsonl.gz", Opener()
    run(data, MODELS, out, n=1, config=CONFIG, open=Opener())
    report = run(data, MODELS, out, n=2, config=CONFIG, open=opener)
    assert opener.count() == 2 * 2
    assert {row.name: row.value for row in report.rows}["all, questions"] == 4


def test_the_report_counts_where_a_larger_tier_is_needed(data: list[Path], tmp_path: Path) -> None:
    report = run(data, MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    values = {row.name: row.value for row in report.rows}
    rows = logged(tmp_path / "l.jsonl.gz").values()
    needed = [row["score"] == {"small": 0, "large": 1} for row in rows if row["benchmark"] == "intents"]
    assert values["intents, a larger tier is needed"] == pytest.approx(np.mean(needed))
    assert values["sums, small, accuracy"] == values["sums, none is right"] == 0.5
    assert values["sums, small is wrong by its probe, entropy"] == 0.5


def test_threads_reach_the_tiers(data: list[Path], tmp_path: Path) -> None:
    opener = Opener()
    run(data, MODELS, tmp_path / "l.jsonl.gz", num_threads=3, config=CONFIG, open=opener)
    assert opener.threads == 3


@pytest.mark.parametrize("models", [[], ["small"], ["small", "small"]])
def test_a_ladder_has_two_tiers(data: list[Path], tmp_path: Path, models: list[str]) -> None:
    with pytest.raises(ValueError, match="models must be two or more, each once"):
        run(data, models, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())


def test_an_engine_that_cannot_probe_is_no_tier(data: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="models: small gives no log-probabilities of a prompt"):
        run(data, MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=lambda name, *_: EchoEngine(name=name))


def test_at_least_one_question_is_asked(data: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"n must be >= 1 \(0\)"):
        run(data, MODELS, tmp_path / "l.jsonl.gz", n=0, config=CONFIG, open=Opener())


def test_a_log_of_other_models_is_kept(data: list[Path], tmp_path: Path) -> None:
    run(data, MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    with pytest.raises(ValueError, match=r"out: .* holds answers of small, large, not of small, other"):
        run(data, ["small", "other"], tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    assert len(logged(tmp_path / "l.jsonl.gz")) == 5


def test_a_log_of_another_seed_is_kept(data: list[Path], tmp_path: Path) -> None:
    run(data, MODELS, tmp_path / "l.jsonl.gz", config=CONFIG, open=Opener())
    with pytest.raises(ValueError, match=r"out: .* holds another question i\d"):
        run(data, MODELS, tmp_path / "l.jsonl.gz", seed=1, config=CONFIG, open=Opener())


def test_the_area_under_a_curve_counts_ties_half() -> None:
    assert roc_auc(np.array([1.0, 1.0, 1.0]), np.array([True, False, False])) == 0.5
    assert roc_auc(np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False])) == 0.875
    assert math.isnan(roc_auc(np.array([1.0]), np.array([True])))


@pytest.mark.real
def test_real_models_answer_and_are_probed(smollm2_dir: Path, data: list[Path], tmp_path: Path) -> None:
    passages = tmp_path / "passages.jsonl"
    passages.write_text(json.dumps({"pid": "a", "title": "Hut", "text": "The rescue sled is kept in hut three."}))
    questions = tmp_path / "reading.jsonl"
    question = {"id": 1, "question": "Where is the rescue sled kept?", "answers": ["hut three"], "gold_pid": "a"}
    questions.write_text(json.dumps(question))
    files = [data[0], passages, questions]
    run(files, ["smollm2-135m", str(smollm2_dir)], tmp_path / "l.jsonl.gz", n=1, config=CONFIG)
    rows = logged(tmp_path / "l.jsonl.gz")
    read = rows["reading/1"]
    assert set(read["score"].values()) == {1}
    assert len(set(read["answer"].values())) == 1  # one model twice
    assert 0.0 < read["probe"]["margin"] < read["probe"]["top_probability"] < 1.0
    assert read["probe"]["num_tokens"] < read["prompt_probe"]["num_tokens"]
    assert min(read["cost"].values()) > 0.0
    assert all(row["answer_logprob"]["smollm2-135m"]["min"] <= 0.0 for row in rows.values())
