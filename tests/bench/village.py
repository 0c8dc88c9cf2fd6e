"""A tiny corpus: each person lives in a village, whose own passage says what it is known for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memory.fakes import WordEmbedder

from ruvllm.bench.setup import Settings
from ruvllm.config import load_config

PEOPLE = [f"{first} {last}" for first in ("Anna", "Boris", "Carla", "Dmitri") for last in ("Novak", "Olsen", "Petrov")]
VILLAGES = [f"{a}{b}" for a in ("Brook", "Stone", "Winter", "Amber") for b in ("ford", "mere", "dale")]
GOODS = "cheese violins pottery honey knives carpets bells lamps boats clocks candles saddles".split()


def write(folder: Path) -> tuple[Path, Path]:
    """Return a corpus and questions of two hops about it."""
    corpus, questions = folder / "corpus.jsonl", folder / "questions.jsonl"
    passages, asked = [], []
    for i, (person, village, goods) in enumerate(zip(PEOPLE, VILLAGES, GOODS, strict=True)):
        passages.append({"pid": f"p{i}", "title": person, "text": f"{person} is a teacher who lives in {village}."})
        passages.append({"pid": f"v{i}", "title": village, "text": f"{village} lies by a river, famous for {goods}."})
        question = f"What is the home of {person} famous for?"
        asked.append({"id": f"q{i}", "question": question, "answers": [goods], "gold_pids": [f"p{i}", f"v{i}"]})
    return _lines(corpus, passages), _lines(questions, asked)


def write_dialogues(folder: Path) -> tuple[Path, Path]:
    """Return turns of three conversations and questions about them; one question is audited."""
    turns, asked = [], []
    for c in range(3):
        for i, (person, goods) in enumerate(zip(PEOPLE, GOODS, strict=True)):
            turn = {"conv": f"c{c}", "session": 1 + i // 6, "date_time": "8 May, 2023", "dia_id": f"D{i}"}
            turns.append(turn | {"speaker": "Ann", "text": f"{person} gave me {goods}.", "image_caption": None})
        for i in range(4):
            about = {"id": f"q{i}", "conv": f"c{c}", "question": f"What did {PEOPLE[i]} give?", "answer": GOODS[i]}
            asked.append(about | {"category": 1 + i % 2, "evidence": [f"D{i}"], "audit": [{}] if i == 3 else None})
    return _lines(folder / "turns.jsonl", turns), _lines(folder / "asked.jsonl", asked)


def settings(**options: Any) -> Settings:
    """Return settings that need no model."""
    return Settings(config=load_config(environment={}), embedder=WordEmbedder(), **options)


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
