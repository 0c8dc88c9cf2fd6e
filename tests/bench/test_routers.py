"""The floors find what is planted, chance gets half, and every figure stands beside them."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ruvllm.bench.report import Report, Row
from ruvllm.bench.routers import floors
from ruvllm.bench.routers.accuracy import first_that_does
from ruvllm.bench.routers.accuracy import rows as accuracy_rows
from ruvllm.bench.routers.bench import Files, run
from ruvllm.bench.routers.evaluation import Judged, judge
from ruvllm.bench.routers.linucb import LinUCB, linucb
from ruvllm.bench.routers.many_models import non_inferior
from ruvllm.bench.routers.splits import by_question
from ruvllm.bench.routers.systems import ORACLE, systems
from ruvllm.bench.routers.table import Table
from ruvllm.bench.routers.two_models import Pair, choose_pair, fixed_apgr_over, threshold_routes
from ruvllm.router.measures import apgr

from . import rows, village
from .rows import means_router  # noqa: F401  a fixture

pytest.importorskip("sklearn")

APGR = "APGR, thresholds from test quantiles"
COST = {"small-1b": 0.001, "large-7b": 0.01}


def found(report: Report) -> dict[str, Row]:
    return {row.name: row for row in report.rows}


def bench(tmp_path: Path, lines: list[dict[str, Any]], **options: Any) -> dict[str, Row]:
    path = rows.write(tmp_path / "rows.jsonl", lines)
    return found(run(Files(both=[path]), village.settings(), **options))


def judged(table: Table, **fits: floors.Fit) -> Judged:
    return judge(table, by_question(table, 0), fits, seed=0, on_progress=lambda *_: None)


def apgr_of(result: Judged, name: str) -> float:
    small, large = result.table.outcomes.quality.T
    score = result.quality[name][:, 1] - result.quality[name][:, 0]
    return apgr(score, small, large, folds=result.folds)


@pytest.mark.parametrize("fit", [floors.topic_table, floors.text_ridge, floors.embedding_ridge, floors.nearest, linucb])
def test_a_floor_finds_what_is_planted(tmp_path: Path, fit: floors.Fit) -> None:
    assert apgr_of(judged(rows.table(tmp_path, rows.planted()), floor=fit), "floor") > 0.7


def test_a_subject_not_in_the_table_is_told_by_its_benchmark(tmp_path: Path) -> None:
    lines = [
        {"prompt": f"{b} {i}", "benchmark": b, "score": {"m": b == "easy", "n": 1}}
        for b in ("easy", "hard")
        for i in range(30)
    ]
    table = floors.topic_table(rows.table(tmp_path, lines), 0)
    asked = [{"prompt": "x", "benchmark": "easy", "subject": "new", "score": {"m": 0, "n": 0}}] * 2
    assert table.predict(rows.table(tmp_path, asked))[0, 0] > 0.8


def test_prompt_length_learns_which_way_it_points(tmp_path: Path) -> None:
    lines = rows.planted(120)
    for line in lines:
        line["prompt"] += " please" * (20 if line["subject"] == "history" else 2)
    assert apgr_of(judged(rows.table(tmp_path, lines), floor=floors.prompt_length), "floor") > 0.7


def test_a_constant_recovers_exactly_half(tmp_path: Path) -> None:
    result = judged(rows.table(tmp_path, rows.planted()), random=floors.tier_means)
    assert apgr_of(result, "random") == pytest.approx(0.5)


def test_the_oracle_exceeds_the_strong_model_where_the_weak_one_is_better(tmp_path: Path) -> None:
    table = rows.table(tmp_path, rows.planted(noise=0.8))
    assert apgr_of(judged(table, oracle=systems(table)[ORACLE]), "oracle") > 1.0


def test_nearest_takes_what_there_is_when_rows_are_few(tmp_path: Path) -> None:
    table = rows.table(tmp_path, rows.planted(8))
    assert floors.nearest(table, 0).predict(table).shape == (8, 2)


def test_linucb_is_ridge_regression_once_its_bounds_are_narrow() -> None:
    rng = np.random.default_rng(0)
    vectors, reward = rng.standard_normal((3000, 4)).astype(np.float32), rng.random(3000)
    bandit = LinUCB(np.eye(4, dtype=np.float32), np.zeros(4, np.float32), 1)
    x = bandit.context(vectors)
    for row, earned in zip(x, reward, strict=True):
        bandit.update(0, row, earned)
    theta = np.linalg.solve(x.T @ x + np.eye(5), x.T @ reward)
    np.testing.assert_allclose(bandit.bounds(x)[:, 0], x @ theta, atol=0.5 * 5 / np.sqrt(3000))


def test_pareto_bandit_finds_what_is_planted(tmp_path: Path) -> None:
    if find_spec("pareto_bandit") is None:
        pytest.skip("needs paretobandit")
    from ruvllm.bench.routers.pareto_bandit import pareto_bandit

    assert apgr_of(judged(rows.table(tmp_path, rows.planted(120)), peer=pareto_bandit), "peer") > 0.7


def test_a_missing_peer_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pareto_bandit", None)
    with caplog.at_level(logging.WARNING):
        assert "ParetoBandit" not in systems(rows.table(tmp_path, rows.planted(4)))
    assert "pareto_bandit is left out" in caplog.text


def test_without_scikit_learn_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ValueError, match=r"pip install 'ruvllm\[bench\]'"):
        floors.prompt_length(rows.table(tmp_path, rows.planted(4)), 0)


def test_the_pair_is_the_cheapest_and_the_best(tmp_path: Path) -> None:
    score = {"a-1b": 0.5, "b-2b": 0.2, "c-3b": 1, "d-4b": 0.9}
    table = rows.table(tmp_path, [{"prompt": "p", "score": score}, {"prompt": "q", "score": score}])
    assert choose_pair(table, None, None) == Pair(0, 2)
    assert choose_pair(table, "b-2b", "d-4b") == Pair(1, 3)


@pytest.mark.parametrize(
    ("weak", "strong", "message"),
    [("other", None, "no model 'other'; the models are"), ("large-7b", "small-1b", "the strong model must be better")],
)
def test_a_pair_that_is_none_is_refused(tmp_path: Path, weak: str, strong: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_pair(rows.table(tmp_path, rows.planted(40)), weak, strong)


def test_thresholds_of_other_folds_call_about_the_wanted_share(tmp_path: Path) -> None:
    result = judged(rows.table(tmp_path, rows.planted()), floor=floors.nearest)
    shares = threshold_routes(result, "floor", Pair(0, 1)).mean(axis=0)
    np.testing.assert_allclose(shares, np.linspace(0.0, 1.0, 11), atol=0.1)


def test_fixed_thresholds_are_judged_by_the_calls_they_make() -> None:
    weak, strong = np.zeros(10), np.ones(10)
    all_or_none = np.array([[False] * 5 + [True] * 6] * 10)
    assert fixed_apgr_over(all_or_none, weak, strong)(np.ones((1, 10)))[0] == pytest.approx(0.5)


def test_a_trade_off_saves_where_the_cheap_model_does(tmp_path: Path) -> None:
    result = judged(rows.table(tmp_path, rows.planted(noise=0.0, cost_usd=COST)), floor=floors.topic_table)
    is_hard = [subject == "algebra" for subject in result.table.subjects]
    np.testing.assert_array_equal(non_inferior(result, "floor"), is_hard)


def test_the_first_model_that_does_is_the_cheapest() -> None:
    quality = np.array([[0.2, 0.9, 1.0], [0.8, 0.1, 0.1], [0.3, 0.4, 0.2]], np.float32)
    assert first_that_does(quality).tolist() == [1, 0, 1]


def test_accuracy_counts_only_questions_that_some_model_answers(tmp_path: Path) -> None:
    lines = [*rows.planted(200, noise=0.0), *rows.planted(40, score={"small-1b": 0, "large-7b": 0}, seed=1)]
    table = rows.table(tmp_path, lines)
    result = judged(table, **{name: systems(table)[name] for name in ("topic table", "random")}, ruvllm=floors.nearest)
    share, accuracy, _ = accuracy_rows(result)
    assert share.value == pytest.approx(100 * 200 / 240)
    assert accuracy.peers["topic table"] == 100.0 and accuracy.peers["random"] < 70.0


@pytest.mark.usefixtures("means_router")
def test_every_figure_stands_beside_the_floors(tmp_path: Path) -> None:
    report = bench(tmp_path, rows.planted(cost_usd=COST))
    for name in (APGR, "APGR, thresholds fixed on train", "within-topic APGR", "CPT50", "CPT80", "AIQ"):
        assert {"topic table", "TF-IDF + ridge", "embedding kNN-50", "LinUCB", "oracle"} <= report[name].peers.keys()
        (gain,) = (row for row in report.values() if row.name.startswith(f"{name}, gain over"))
        assert gain.interval is not None and gain.met == (gain.interval[0] > 0.0)
    assert report[APGR].value > 0.7 and report[APGR].peers["random"] == pytest.approx(0.5)
    assert {"decision on one question, embedding known, p50"} <= report.keys()


@pytest.mark.usefixtures("means_router")
def test_a_router_that_beats_no_floor_is_shown_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(self: object, texts: list[str], *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(quality=np.full((len(texts), 2), 0.5))

    monkeypatch.setattr(rows.MeansRouter, "predict", flat)
    report = bench(tmp_path, rows.planted(120))
    (gain,) = (row for row in report.values() if row.name.startswith(f"{APGR}, gain over"))
    assert gain.met is False and gain.value < -0.2


@pytest.mark.usefixtures("means_router")
def test_the_probe_is_judged_against_the_prompt_alone(tmp_path: Path) -> None:
    lines = rows.planted()
    for line in lines:
        line["probe"] = rows.probe(line["score"]["small-1b"])
    report = bench(tmp_path, lines)
    assert report["ROC-AUC, the weak model misses 0.8, gain over ruvllm without the probe"].met
    assert "probe + embedding, ridge" in report[APGR].peers


@pytest.mark.usefixtures("means_router")
def test_the_ceiling_is_context_and_no_floor(tmp_path: Path) -> None:
    report = bench(tmp_path, rows.planted(60), ceiling=True)
    assert "our features + trees" in report[APGR].peers
    assert not any("gain over our features" in name for name in report)
    assert any(name.endswith("share of the best") for name in report)


@pytest.mark.usefixtures("means_router")
def test_unseen_subjects_are_ranked_each_for_itself(tmp_path: Path) -> None:
    report = bench(tmp_path, rows.planted(), leave_out_subjects=True)
    assert report[APGR].peers["topic table"] == pytest.approx(0.5)


@pytest.mark.usefixtures("means_router")
def test_what_one_file_taught_is_judged_on_another(tmp_path: Path) -> None:
    lines = rows.planted(200)
    first, second = rows.write(tmp_path / "a.jsonl", lines[:140]), rows.write(tmp_path / "b.jsonl", lines[120:])
    report = found(run(Files(train=[first], test=[second]), village.settings()))
    assert report["questions"].value == 60 and report["questions"].peers == {"learnt from": 140.0}
    assert report[APGR].peers["TF-IDF + ridge"] > 0.7


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "give files to divide"),
        ({"train": ["a"]}, "train and test belong together"),
        ({"both": ["a"], "train": ["a"], "test": ["b"]}, "give files to divide"),
    ],
)
def test_files_that_do_not_go_together_are_refused(files: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**files)
