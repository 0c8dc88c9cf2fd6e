"""Every bench of memory runs on a tiny corpus and shows the rows it promises."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench import attribution, conversation, learning, retrieval
from ruvllm.bench.report import Report

from . import village

UNTRAINED = "attention untrained (PageRank prior)"


def values(report: Report) -> dict[str, float]:
    return {row.name: row.value for row in report.rows}


def test_retrieval_shows_every_system_and_the_gain_of_training(tmp_path: Path) -> None:
    found = values(retrieval.run(*village.write(tmp_path), village.settings(orders=2)))
    for system in ("dense", "BM25", "RRF", UNTRAINED, "attention after all labels"):
        assert {f"{system}, {metric}" for metric in ("recall@2", "recall@5", "recall@10", "nDCG@10")} <= found.keys()
    assert found[f"{UNTRAINED}, recall@2"] > found["dense, recall@2"]
    gain = found["attention after all labels, recall@5"] - found[f"{UNTRAINED}, recall@5"]
    assert found[f"attention after all labels, gain in recall@5 over {UNTRAINED}"] == pytest.approx(gain)
    assert found["search, p50"] <= found["search, p95"]


@pytest.mark.parametrize(("module", "name"), [("lancedb", "LanceDB hybrid"), ("mem0", "mem0")])
def test_a_peer_is_asked_the_same_questions(tmp_path: Path, module: str, name: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"needs {module}")
    found = values(retrieval.run(*village.write(tmp_path), village.settings(orders=1)))
    assert found[f"{name}, recall@10"] >= 0.5


def test_retrieval_learns_from_given_feedback_and_asks_the_rest(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    said = tmp_path / "said.jsonl"
    said.write_text('{"id": "q0", "rating": 1}\n{"id": "q1", "good_pids": ["p1"]}\n{"id": "q2", "rating": 0}\n')
    asked: list[str] = []
    settings = village.settings(on_progress=lambda what, done, total: asked.append(what))
    report = retrieval.run(corpus, questions, settings, feedback=said)
    assert "attention after 3 rows of feedback, recall@5" in values(report)
    assert "ingest" in {what.strip() for what in asked}


def test_feedback_about_nothing_that_is_asked_is_refused(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    said = tmp_path / "said.jsonl"
    said.write_text('{"id": "other", "rating": 1}\n')
    with pytest.raises(ValueError, match="says nothing about any of the questions"):
        retrieval.run(corpus, questions, village.settings(), feedback=said)


def test_hidden_titles_leave_less_to_link(tmp_path: Path) -> None:
    files = village.write(tmp_path)
    shown = values(retrieval.run(*files, village.settings(orders=1)))
    hidden = values(retrieval.run(*files, village.settings(orders=1, hide_titles=True)))
    assert hidden[f"{UNTRAINED}, recall@2"] < shown[f"{UNTRAINED}, recall@2"]


def test_learning_shows_regimes_flips_attack_and_transfer(tmp_path: Path) -> None:
    files = village.write(tmp_path)
    learnt = learning.run(*files, village.settings(orders=2), ask_corpus=files[0], ask_questions=files[1])
    names = " | ".join(values(learnt.report))
    for part in (
        "(a) one",
        "(b) marks",
        "(c) all",
        "20% of",
        "40% of",
        "100% of",
        "attacker's ratings that teach",
        "untouched topics",
        "another corpus",
        "10 keys",
    ):
        assert part in names
    assert [ratings for ratings, _ in learnt.curves["(a) one rating per answer"]] == [0, 6]


def test_learning_with_a_reader_measures_what_writing_back_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake:
        def __init__(self, *args: object) -> None:
            pass

        def __call__(self, asked: object, places: object) -> str:
            return "cheese, as people say"

        def close(self) -> None:
            pass

    monkeypatch.setattr("ruvllm.bench.setup.Reader", Fake)
    found = values(learning.run(*village.write(tmp_path), village.settings(orders=1, model="fake")).report)
    changes = [value for name, value in found.items() if name.endswith("change by writing good answers back")]
    assert len(changes) == 3


def test_learning_wants_both_files_of_the_other_set(tmp_path: Path) -> None:
    files = village.write(tmp_path)
    with pytest.raises(ValueError, match="belong together"):
        learning.run(*files, village.settings(), ask_corpus=files[0])


def test_conversation_shows_categories_with_and_without_audited_rows(tmp_path: Path) -> None:
    found = values(conversation.run(*village.write_dialogues(tmp_path), village.settings()))
    for system in ("dense", "BM25", "RRF", UNTRAINED):
        for part in ("all", "without audited rows", "category 1", "category 2"):
            assert found[f"{system}, {part}, recall@20"] >= found[f"{system}, {part}, recall@5"] > 0.0


def test_a_session_is_one_dialogue_with_pictures_in_the_text(tmp_path: Path) -> None:
    row = {"conv": "c", "session": 1, "date_time": "8 May", "dia_id": "D1", "speaker": "Ann", "text": "Look!"}
    file = tmp_path / "turns.jsonl"
    file.write_text(
        "".join(json.dumps(row | {"dia_id": f"D{i}", "image_caption": c}) + "\n" for i, c in enumerate("x "))
    )
    ((session,),) = conversation.dialogues(file).values()
    assert session["source"] == "c/1"
    assert [turn["metadata"]["dia_id"] for turn in session["turns"]] == ["D0", "D1"]
    assert session["turns"][0]["text"] == "Look! [x]" and session["turns"][0]["speaker"] == "Ann"


def test_attribution_compares_the_combination_with_the_rank(tmp_path: Path) -> None:
    found = values(attribution.run(*village.write(tmp_path), village.settings()))
    gain = found["gold answers, combined, AUROC"] - found["gold answers, prior's rank alone, AUROC"]
    assert found["gold answers, combined, gain over prior's rank alone"] == pytest.approx(gain)
    assert not any("own answers" in name for name in found)  # there is no reader


def test_auroc_is_the_chance_of_a_right_pair() -> None:
    assert attribution.auroc(np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])) == 0.625
