"""`ruvllm bench conversation`: evidence found in long dialogues, by category, with the engine taught by the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench import evaluation
from ruvllm.bench.corpora import Question, read_rows
from ruvllm.bench.evaluation import Asked, Scorer, ask, attention, measure, metric_names
from ruvllm.bench.pool import Pool
from ruvllm.bench.ratings import Attribution, is_good, labelled, learnt, rated, shown
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.types import Node

__all__ = ["LocomoQuestion", "dialogues", "read_dialogue_questions", "read_dialogues", "run"]

KS = (5, 10, 20)
METRIC = "recall@10"
RATINGS = 100
UNTRAINED = "attention untrained (PageRank prior)"


@dataclass(frozen=True, slots=True)
class LocomoQuestion:
    """A question about a dialogue; `is_audited` where its answer or evidence is known to be wrong."""

    question: Question
    conversation: str
    category: str
    is_audited: bool


def run(turns: Path, questions: Path, settings: Settings) -> Report:
    """Return evidence recall per system and category, intervals over conversations.

    The trained rows are taught by the questions about all other conversations.

    Args:
        turns: JSON Lines of {conv, session, date_time, dia_id, speaker, text, image_caption?}, in order.
        questions: JSON Lines of {id, question, conv, category, evidence: [dia_id]}.
    """
    sources, rows = read_dialogues(turns, questions, settings)
    about = {row.question.id: row for row in rows}
    asked: list[Asked] = []
    pool = Pool(metric_names(KS))
    with open_tools(settings) as tools:
        for conversation, documents in sources.items():
            here = [row.question for row in rows if row.conversation == conversation]
            if here:
                asked += ask(
                    documents,
                    here,
                    tools.embedder,
                    settings.config,
                    name_of=_turn_of,
                    group=conversation,
                    on_progress=settings.on_progress,
                )
        conversations = sorted({one.group for one in asked})
        if len(conversations) < 2:
            raise ValueError(f"{questions} asks about {len(conversations)} conversations; two are the least")
        for number, conversation in enumerate(conversations):
            left_out = [one for one in asked if one.group == conversation]
            others = [one for one in asked if one.group != conversation]
            rng = np.random.default_rng((settings.seed, number))
            for name, scorer in _systems(others, rng, tools.attribution).items():
                figures = measure(scorer, left_out, KS)
                _add(pool, name, number, figures, [about[one.question.id] for one in left_out])
            settings.on_progress("conversations", number + 1, len(conversations))
    return make_report("conversation", _rows(pool, sorted({row.category for row in rows})))


def dialogues(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return conversation -> its sessions as `Memory.ingest` takes them; what a picture shows is part of the turn."""
    sessions: dict[str, dict[str, dict[str, Any]]] = {}
    for row in read_rows(path, ("conv", "session", "dia_id", "speaker", "text")):
        source = f"{row['conv']}/{row['session']}"
        session = sessions.setdefault(row["conv"], {}).setdefault(source, {"turns": [], "source": source})
        caption = row.get("image_caption")
        turn = {
            "text": f"{row['text']} [{caption}]" if caption else row["text"],
            "speaker": row["speaker"],
            "metadata": {"dia_id": row["dia_id"]},
        }
        session["turns"].append(turn | ({"date": row["date_time"]} if row.get("date_time") else {}))
    return {conversation: list(held.values()) for conversation, held in sessions.items()}


def read_dialogues(
    turns: Path, questions: Path, settings: Settings
) -> tuple[dict[str, list[dict[str, Any]]], list[LocomoQuestion]]:
    """Return the documents of each conversation, and the questions, drawn where `settings.limit` says how many."""
    sources = dialogues(turns)
    known = {c: {t["metadata"]["dia_id"] for d in ds for t in d["turns"]} for c, ds in sources.items()}
    rows = read_dialogue_questions(questions, known)
    if settings.limit is not None:
        order = np.random.default_rng(settings.seed).permutation(len(rows))[: settings.limit]
        rows = [rows[i] for i in sorted(order.tolist())]
    return sources, rows


def read_dialogue_questions(path: Path, known: dict[str, set[str]]) -> list[LocomoQuestion]:
    """Return the questions with evidence among the known turns of their conversation."""
    questions = []
    for number, row in enumerate(read_rows(path, ("id", "question", "conv", "category", "evidence"))):
        evidence = tuple(turn for turn in row["evidence"] if turn in known.get(row["conv"], ()))
        if evidence:
            answers = (str(row["answer"]),) if row.get("answer") else ()
            question = Question(f"{row['id']}#{number}", row["question"], answers, evidence)
            questions.append(LocomoQuestion(question, row["conv"], str(row["category"]), bool(row.get("audit"))))
    return questions


def _turn_of(node: Node) -> str:
    return str(node.metadata["dia_id"])


def _systems(others: Sequence[Asked], rng: np.random.Generator, attribution: Attribution) -> dict[str, Scorer]:
    """Return all systems, taught by RATINGS questions about other conversations."""
    untrained = attention()
    stream = [others[i] for i in rng.permutation(len(others))[:RATINGS]]
    ratings = []
    for one in stream:
        places = shown(one, untrained)
        ratings.append(rated(one, places, is_good(one, places), attribution))
    return {
        "dense": evaluation.dense,
        "BM25": evaluation.bm25,
        "RRF": evaluation.rrf,
        UNTRAINED: untrained,
        f"attention after {RATINGS} ratings": learnt(ratings),
        f"attention after all labels of {RATINGS} questions": learnt([labelled(one) for one in stream]),
    }


def _add(pool: Pool, name: str, conversation: int, figures: np.ndarray, about: Sequence[LocomoQuestion]) -> None:
    parts = {"all": np.ones(len(about), np.bool_)}
    parts["without audited rows"] = np.array([not row.is_audited for row in about])
    for category in sorted({row.category for row in about}):
        parts[f"category {category}"] = np.array([row.category == category for row in about])
    for part, where in parts.items():
        if where.any():
            pool.add(f"{name}, {part}", np.full(int(where.sum()), conversation), figures[where])


def _rows(pool: Pool, categories: Sequence[str]) -> list[Row]:
    rows = []
    names = list(dict.fromkeys(system.rsplit(", ", 1)[0] for system in pool.systems))
    for part in ("all", "without audited rows", *(f"category {category}" for category in categories)):
        for name in names:
            rows += pool.rows(f"{name}, {part}", metric_names(KS)[: len(KS)])
    for name in names[names.index(UNTRAINED) + 1 :]:
        for part in ("all", "without audited rows"):
            rows.append(pool.gain(f"{name}, {part}", f"{UNTRAINED}, {part}", METRIC, name=f"{name}, {part}, gain"))
    return rows
