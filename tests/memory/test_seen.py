"""ruvllm/memory/seen.py: what a search returned is known until it is taken, or others came after it."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.memory import seen as seen_module
from ruvllm.memory.seen import Seen
from ruvllm.types import Node, NodeType

VECTOR = np.array([1.0, 0.0], np.float32)


def note(seen: Seen, query: str, *ids: int, vector: np.ndarray = VECTOR) -> None:
    seen.note(query, vector, [(Node(i, NodeType.FACT, f"text {i}"), np.full(3, i, np.float32)) for i in ids])


def test_what_a_search_returned_is_taken_once() -> None:
    seen = Seen()
    note(seen, "who?", 4, 7)
    taken = seen.take("who?", VECTOR)
    assert taken is not None
    assert {i: (node.text, features.tolist()) for i, (node, features) in taken.items()} == {
        4: ("text 4", [4.0] * 3),
        7: ("text 7", [7.0] * 3),
    }
    assert seen.take("who?", VECTOR) is None


def test_a_question_by_another_embedder_is_another_question() -> None:
    seen = Seen()
    note(seen, "who?", 4)
    assert seen.take("who?", -VECTOR) is None


def test_the_newest_search_counts() -> None:
    seen = Seen()
    note(seen, "who?", 4)
    note(seen, "who?", 5)
    taken = seen.take("who?", VECTOR)
    assert taken is not None and taken.keys() == {5}


def test_the_oldest_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "KEPT_SEARCHES", 2)
    seen = Seen()
    for query in ("a", "b", "a", "c"):
        note(seen, query, 1)
    assert [seen.take(query, VECTOR) is not None for query in ("a", "b", "c")] == [True, False, True]
