"""The bench of forgetting, on two made-up topics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ruvllm.bench import forgetting

from . import village
from .test_benches import values


def write(folder: Path, *, each: int) -> Path:
    """Return texts of two topics with two classes each, told apart by their words."""
    path = folder / "texts.jsonl"
    rows = [
        {"text": f"{intent} number {i}", "intent": intent, "domain": domain}
        for domain, intents in {
            "sea": ("sailing fast boats", "catching fish"),
            "land": ("ploughing", "milking cows"),
        }.items()
        for intent in intents
        for i in range(each)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_topic_a_is_measured_before_and_after_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "DOCUMENTS", 3)
    monkeypatch.setattr(forgetting, "FROZEN", 8)
    found = values(forgetting.run(write(tmp_path, each=12), village.settings(orders=2), interactions=6))
    assert (found["orders"], found["interactions on other topics"]) == (2, 6)
    assert found["before, accuracy"] > 0.5  # what drawing lots would give
    assert found["what topic A lost to the others' interactions, as a gain"] == pytest.approx(
        found["after, accuracy"] - found["before, accuracy"]
    )


def test_topics_with_too_few_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no domain"):
        forgetting.run(write(tmp_path, each=12), village.settings())
