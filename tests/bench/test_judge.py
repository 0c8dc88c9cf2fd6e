"""The judge bench: figures beside baselines, twins, and the half that nothing was fitted on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory.fakes import WordEmbedder

from ruvllm.bench.judge.rows import accuracy_rows, auroc_rows, calibration_rows
from ruvllm.bench.judge.run import _passages, run
from ruvllm.bench.judge.sets import is_fitted, pairs
from ruvllm.bench.judge.twins import brain_of, twins_of
from ruvllm.bench.setup import Settings
from ruvllm.config import Config, EmbeddingConfig, ModelsConfig, load_config
from ruvllm.embedding import open_embedder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of all sets, each with a few rows about huts and what is kept in them."""
    huts = range(12)
    passages = [{"pid": f"p{i}", "title": "", "text": f"The red{i} sled is kept in hut{i}."} for i in huts]
    asked = [
        {"id": f"q{i}", "question": f"Where is the red{i} sled kept?", "answers": [f"hut{i}"], "gold_pid": f"p{i}"}
        for i in huts
    ]
    write(tmp_path / "qa/xquad_en_passages.jsonl.gz", passages)
    write(tmp_path / "qa/xquad_en_questions.jsonl.gz", asked)
    turns = [
        {"conv": f"c{c}", "session": 1, "dia_id": f"D1:{i}", "speaker": "Ann", "text": p["text"]}
        for c in (0, 1)
        for i, p in enumerate(passages)
    ]
    questions = [
        {
            "id": f"l{c}{i}",
            "conv": f"c{c}",
            "question": asked[i]["question"],
            "evidence": [f"D1:{i}"],
            "answer": f"hut{i}",
        }
        | {"category_name": "adversarial" if i > 8 else "single_hop"}
        for c in (0, 1)
        for i in huts
    ]
    candidates = [
        {"id": q["id"], "question": q["question"], "kind": kind, "candidate": text, "judge_votes": 3}
        | {"lenient_judge_accepts": 3 if kind == "model" else 0}
        for q in questions
        for kind, text in (("model", q["answer"]), ("wrong_specific", "the barn"), ("wrong_vague", "some place"))
    ]
    write(tmp_path / "memory/locomo_turns.jsonl.gz", turns)
    write(tmp_path / "memory/locomo_qa.jsonl.gz", questions)
    write(tmp_path / "judge/locomo_candidate_answers.jsonl.gz", candidates)
    sums = [
        {"id": f"s{i}", "question": f"{i} and 2?", "model": "m", "answer": f"{i} + 2 = {i + 2 + w}.", "correct": 1 - w}
        for i in huts
        for w in (0, 1)
    ]
    for name in ("gsm8k", "mmlu_pro"):
        write(tmp_path / f"judge/{name}_solutions.jsonl.gz", sums)
    both = [
        {"id": f"p{i}", "instruction": f"Say {i}.", "response_a": f"It is {i}.", "response_b": "no", "preferred": "a"}
        for i in huts
    ]
    for name in ("pandalm", "hhh", "llmbar"):
        write(tmp_path / f"judge/{name}_pairs.jsonl.gz", both)
    return tmp_path


def test_every_set_has_its_row_beside_length(data: Path) -> None:
    report = run(data, Settings(embedder=WordEmbedder()))
    rows = {row.name.split(" (n=")[0]: row for row in report.rows}
    for name in ("GSM8K solutions", "MMLU-Pro solutions", "PandaLM", "HHH", "LLMBar", "LoCoMo answers, all"):
        assert "length" in rows[name].peers and f"{name}, lead over length" in rows, name
    assert rows["LoCoMo answers, wrong_specific"].value > 0.9
    assert rows["XQuAD, evidence-deleted twins"].met and rows["LoCoMo, evidence-deleted twins"].value > 0.7
    assert rows["LoCoMo, adversarial questions against the others"].peers == {"question alone": 0.71}


def test_abstention_alone_is_the_twins(data: Path) -> None:
    report = run(data, Settings(embedder=WordEmbedder()), abstention=True)
    assert all("twins" in row.name or "adversarial" in row.name for row in report.rows)


def test_deleted_evidence_is_nowhere_and_what_comes_after_moves_up() -> None:
    documents = [{"text": f"the sled is in hut {i}", "source": f"s{i}"} for i in range(6)]
    with brain_of(documents, WordEmbedder(), load_config()) as memory:
        found = twins_of(memory, "where is the sled in hut 2", frozenset(["s2"]), lambda n: str(n.source), k=3)
    assert len(found.given) == len(found.deleted) == 3 and found.given[0].source == "s2"
    assert "s2" not in [source.source for source in found.deleted]


def test_a_half_is_kept_apart_by_instruction(data: Path) -> None:
    path = data / "judge/pandalm_pairs.jsonl.gz"
    one, other = pairs(path, fitted=True), pairs(path, fitted=False)
    assert {p.id for p in one}.isdisjoint(p.id for p in other) and len(one) + len(other) == len(pairs(path)) == 12
    assert all(is_fitted(p.instruction) for p in one)


def test_a_lead_counts_only_when_its_interval_is_above_0() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.5
    rows = auroc_rows("x", right + rng.normal(size=400), right, np.arange(400).astype(str), {"noise": rng.random(400)})
    assert rows[0].value > 0.7 and rows[1].met
    (alone, lead) = accuracy_rows("y", np.ones(9), np.arange(9).astype(str), {"same": -np.ones(9)})
    assert alone.value == 1.0 and alone.peers == {"same": 1.0} and not lead.met  # used the right way round


def test_calibration_is_measured_on_a_thousand_answers_or_not_at_all() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(1500)
    right, groups = rng.random(1500) < score**2, np.arange(1500).astype(str)
    error, square = calibration_rows("x", score, right, groups)
    assert error.value < error.peers["uncalibrated"] / 2.0 and error.target == 0.05
    assert square.value < square.peers["base rate alone"]
    assert calibration_rows("x", score[:1100], right[:1100], groups[:1100]) == []


@pytest.mark.real
def test_the_shipped_weights_tell_real_questions_from_those_whose_evidence_is_gone(
    minilm_dir: Path, models_config: ModelsConfig, shared_dir: Path
) -> None:
    embedder = open_embedder(EmbeddingConfig(), models_config)
    auroc, *_ = _passages(shared_dir / "data", embedder, Config(), 60, lambda what, done, total: None)
    assert auroc.value >= 0.85
