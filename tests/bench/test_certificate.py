"""The bench of certificates on made-up outcomes whose difficulty is written into the question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from memory.fakes import WordEmbedder
from typer.testing import CliRunner

from ruvllm.bench.certificate import read_recorded, run, trials, word_scores
from ruvllm.bench.router_scores import by_router
from ruvllm.cli.app import app

WORDS = ("easy", "plain", "odd", "hard")


def write(folder: Path, n: int = 600, **extra: object) -> Path:
    rng, path = np.random.default_rng(0), folder / "made_up.jsonl"
    rows = []
    for i in range(n):
        word = WORDS[i % 4]
        small = float(rng.random() < 1.0 - 0.25 * (i % 4))
        score = {"small": small, "middling": max(small, float(rng.random() < 0.7)), "large": 1.0}
        rows.append({"prompt": f"{word} question {i}", "score": score, **extra})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_middle_and_the_best_model_are_taken_when_none_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert read_recorded(path).models == ("middling", "large")
    assert read_recorded(path, ["small", "large"]).quality.shape == (600, 2)


def test_the_largest_tier_has_all_the_cost_unless_costs_are_recorded(tmp_path: Path) -> None:
    assert read_recorded(write(tmp_path)).cost[0].tolist() == [0.0, 1.0]
    priced = write(tmp_path, cost_usd={"small": 0.1, "middling": 0.2, "large": 0.5})
    assert read_recorded(priced).cost[0].tolist() == [0.2, 0.5]


@pytest.mark.parametrize(("models", "message"), [(["small"], "1 models"), (["small", "nobody"], "0 common rows")])
def test_files_without_enough_in_common_are_refused(tmp_path: Path, models: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_recorded(write(tmp_path), models)


def test_words_tell_hard_questions_from_easy_ones() -> None:
    lost = np.array([[0.0], [0.0], [1.0], [1.0]])
    easy, hard = word_scores(["easy one", "easy two", "hard one", "hard two"], lost, ["easy three", "hard three"])
    assert easy > hard


def test_a_promise_is_kept_where_a_tuned_threshold_is_not(tmp_path: Path) -> None:
    recorded = read_recorded(write(tmp_path, 1200), ["small", "large"])
    scores = np.array([[1.0 - 0.25 * WORDS.index(text.split()[0]), 0.0] for text in recorded.texts])
    scores += np.random.default_rng(1).normal(0.0, 0.1, scores.shape)
    (trial,) = trials(scores, recorded.quality, recorded.cost, risks=[0.1], rows=200, draws=100)
    assert (trial.resampled > 0.1).mean() <= 0.1 + 1.645 * np.sqrt(0.1 * 0.9 / 100)
    assert trial.violations("first") <= trial.violations("one") < 0.3 < trial.violations("tuned")
    assert 0.0 < trial.savings["one"].mean() < trial.savings["tuned"].mean()


def test_the_bench_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, again = (run([write(tmp_path)], draws=5, seed=3).rows for _ in range(2))
    assert first == again
    assert [row.name for row in first[:3]] == [
        f"made_up, risk 0.02, {what}" for what in ("true risk over it", "test rows over it", "saving")
    ]


def test_the_command_prints_one_json_object(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["bench", "certificate", str(write(tmp_path)), "-m", "small", "-m", "large", "--draws", "3", "--json"]
    )
    assert done.exit_code == 0 and json.loads(done.stdout)["bench"] == "certificate"


def test_an_unknown_loss_is_an_error_not_a_trace(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "certificate", str(write(tmp_path)), "--loss", "pain"])
    assert done.exit_code == 2


def test_the_routers_own_scores_are_certified_on_request(tmp_path: Path) -> None:
    path, embedder = write(tmp_path), WordEmbedder()
    recorded = read_recorded(path, ["small", "large"])
    scores = by_router(embedder)(recorded, np.zeros((600, 2)), range(300), range(300, 600))
    easy, hard = (np.mean([scores[i, 0] for i in range(300) if i % 4 == kind]) for kind in (0, 3))
    assert scores.shape == (300, 2) and easy > hard + 0.2
    rows = run([path], models=["small", "large"], draws=5, scorer=by_router(embedder)).rows
    assert {row.name for row in rows} >= {"made_up, risk 0.1, true risk over it"}
