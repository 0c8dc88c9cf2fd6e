"""The judge on long conversations: candidate answers, evidence-deleted twins, questions that have no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.conversation import dialogues
from ruvllm.bench.corpora import read_rows
from ruvllm.bench.judge.logprobs import LogProbs
from ruvllm.bench.judge.rows import auroc_rows, calibration_rows
from ruvllm.bench.judge.sets import judged
from ruvllm.bench.judge.twins import brain_of, twins_of
from ruvllm.bench.report import Row
from ruvllm.bench.setup import Settings
from ruvllm.learning.judge.model import said, shipped
from ruvllm.memory import Memory
from ruvllm.types import Embedder, Node

__all__ = ["dialogue_rows"]

TARGET = 0.70
QUESTION_FLOOR = 0.71  # AUROC that the question's words alone reach on the adversarial category
UNANSWERABLE = "adversarial"
WRONG = ("wrong_specific", "wrong_vague")
LOGPROB_QUESTIONS = 150


@dataclass(slots=True)
class _Seen:
    """Scores that were collected, in step within a kind."""

    twins: list[tuple[float, float, str]] = field(default_factory=list)  # with, without, conversation
    answerable: list[tuple[float, bool, str]] = field(default_factory=list)  # full brain; has an answer; conversation
    # score; is right; kind; question id; length; question; answer
    answers: list[tuple[float, bool, str, str, int, str, str]] = field(default_factory=list)


def dialogue_rows(
    data: Path, embedder: Embedder, settings: Settings, scorer: LogProbs | None, *, abstention: bool
) -> list[Row]:
    """Return LoCoMo's rows; each conversation is a brain."""
    questions = list(read_rows(data / "memory" / "locomo_qa.jsonl.gz", ("id", "conv", "question", "evidence")))
    kept = {q["id"] for q in _drawn(questions, settings)}
    candidates: dict[str, list[dict[str, Any]]] = {}
    if not abstention:
        for row in read_rows(data / "judge" / "locomo_candidate_answers.jsonl.gz", ("id", "kind", "candidate")):
            candidates.setdefault(row["id"], []).append(row)
    seen = _Seen()
    conversations = dialogues(data / "memory" / "locomo_turns.jsonl.gz")
    for done, (conversation, documents) in enumerate(conversations.items(), 1):
        here = [q for q in questions if q["conv"] == conversation and q["id"] in kept and q["evidence"]]
        with brain_of(documents, embedder, settings.config) as memory:
            for question in here:
                _ask(memory, embedder, question, candidates.get(question["id"], ()), seen)
        settings.on_progress("LoCoMo", done, len(conversations))
    return _answer_rows(seen, scorer) + _twin_rows(seen)


def _drawn(questions: Sequence[Mapping[str, Any]], settings: Settings) -> list[Mapping[str, Any]]:
    order = np.random.default_rng(settings.seed).permutation(len(questions))[: settings.limit]
    return [questions[i] for i in order]


def _ask(
    memory: Memory, embedder: Embedder, row: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], seen: _Seen
) -> None:
    question, conversation = row["question"], row["conv"]
    found = twins_of(memory, question, frozenset(row["evidence"]), _turn_of, k=5)
    heads = shipped()

    def answerable(sources: Any) -> float:
        return said(judged(question, "-", sources, embedder.encode, memory.rarity), heads["answerable"])

    given, has_answer = answerable(found.given), row["category_name"] != UNANSWERABLE
    seen.answerable.append((given, has_answer, conversation))
    if has_answer:
        seen.twins.append((given, answerable(found.deleted), conversation))
    for one in candidates:
        is_right = one["kind"] not in WRONG and 2 * one["lenient_judge_accepts"] > one["judge_votes"]
        signals = judged(question, one["candidate"], found.given, embedder.encode, memory.rarity)
        score, text = said(signals, heads["grounded"]), one["candidate"]
        seen.answers.append((score, is_right, one["kind"], row["id"], len(text), question, text))


def _turn_of(node: Node) -> str:
    return str(node.metadata.get("dia_id"))


def _answer_rows(seen: _Seen, scorer: LogProbs | None) -> list[Row]:
    """Return rows of right model answers against the wrong candidates, all and by kind; rejected model answers, of
    which nobody knows whether they are wrong, are in the row of all."""
    rows: list[Row] = []
    if not seen.answers:
        return rows
    for part, kinds in (("all", WRONG), ("wrong_specific", WRONG[:1]), ("wrong_vague", WRONG[1:])):
        held = [one for one in seen.answers if one[1] or one[2] in kinds or part == "all"]
        score, right = np.array([one[0] for one in held]), np.array([one[1] for one in held])
        groups = np.array([one[3] for one in held])
        rows += auroc_rows(
            f"LoCoMo answers, {part}", score, right, groups, {"length": np.array([float(one[4]) for one in held])}
        )
        if part == "all":
            rows += calibration_rows("LoCoMo answers", score, right, groups)
    if scorer is not None:
        few = set(list(dict.fromkeys(one[3] for one in seen.answers))[:LOGPROB_QUESTIONS])
        held = [one for one in seen.answers if one[3] in few]
        logprobs = np.array([scorer(one[5], [one[6]])[0] for one in held])
        rows += auroc_rows(
            f"LoCoMo answers, {len(few)} questions",
            np.array([one[0] for one in held]),
            np.array([one[1] for one in held]),
            np.array([one[3] for one in held]),
            {f"log-probability by {scorer.name}": logprobs},
        )
    return rows


def _twin_rows(seen: _Seen) -> list[Row]:
    scores = np.array([value for given, deleted, _ in seen.twins for value in (given, deleted)])
    groups = np.array([conversation for *_, conversation in seen.twins for _ in range(2)])
    is_given = np.tile([True, False], len(seen.twins))
    rows = auroc_rows("LoCoMo, evidence-deleted twins", scores, is_given, groups, {}, target=TARGET)
    has_answer = np.array([one[1] for one in seen.answerable])
    if has_answer.any() and not has_answer.all():
        (row,) = auroc_rows(
            "LoCoMo, adversarial questions against the others",
            np.array([one[0] for one in seen.answerable]),
            has_answer,
            np.array([one[2] for one in seen.answerable]),
            {},
        )
        rows.append(Row(row.name, row.value, row.unit, row.interval, {"question alone": QUESTION_FLOOR}))
    return rows
