"""Memory.document_version: another number after every change of what is searched, and after nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import interaction

CHANGES: dict[str, Callable[[Memory], object]] = {
    "ingest": lambda memory: memory.add(["Another text."]),
    "a document again, changed": lambda memory: memory.add([{"text": "New words.", "source": "known"}]),
    "forget": lambda memory: memory.forget("known"),
    "a fact": lambda memory: memory.insert_node("A fact."),
    "correction": lambda memory: memory.feedback("a1", Feedback(correction="Otherwise.")),
    "promotion": lambda memory: memory.promote(answer(memory)),
    "revoking what was promoted": lambda memory: memory.revoke(answer(memory, "p1")),
    "trust": lambda memory: memory.set_trust("known", 0.5),
    "archival": lambda memory: memory.run_archival(0.0, 10**6),
}


def answer(memory: Memory, id: str = "a1") -> int:
    return memory.interaction(id).answer_node or 0


@pytest.fixture
def brain_memory(memory: Memory) -> Memory:
    memory.add([{"text": "An index is a structure.", "source": "known"}])
    memory.record(interaction("a1"))
    memory.record(interaction("p1", session="bob", query="Who bakes?", answer="Mathilde bakes."))
    memory.promote(answer(memory, "p1"))
    return memory


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_what_is_searched_is_another_version(
    brain_memory: Memory, open_memory: Callable[..., Memory], change: Callable[[Memory], object]
) -> None:
    reader = open_memory(read_only=True)
    before, seen = brain_memory.document_version, reader.document_version
    change(brain_memory)
    assert brain_memory.document_version > before
    assert reader.document_version > seen  # as another process would see it


UNCHANGED: dict[str, Callable[[Memory], object]] = {
    "an answered request": lambda memory: memory.record(interaction("a2", source_ids=(1,))),
    "a rating": lambda memory: memory.feedback("a1", Feedback(rating=4)),
    "a search": lambda memory: memory.search("index"),
    "the same document": lambda memory: memory.add([{"text": "An index is a structure.", "source": "known"}]),
    "promoting again": lambda memory: memory.promote(answer(memory, "p1")),
    "decay": lambda memory: memory.apply_decay(),
    "a deleted session": lambda memory: memory.delete_session("alice"),
}


@pytest.mark.parametrize("use", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_what_changes_no_document_is_the_same_version_elsewhere(
    brain_memory: Memory, open_memory: Callable[..., Memory], use: Callable[[Memory], object]
) -> None:
    reader = open_memory(read_only=True)
    seen = reader.document_version
    use(brain_memory)
    brain_memory.flush()
    assert reader.document_version == seen


def test_a_rating_and_a_record_are_the_same_version_here(brain_memory: Memory) -> None:
    before = brain_memory.document_version
    brain_memory.record(interaction("a2", source_ids=(1,)))
    brain_memory.feedback("a2", Feedback(rating=4))
    assert brain_memory.document_version == before


def test_another_namespace_has_its_own(open_memory: Callable[..., Memory]) -> None:
    with open_memory(namespace="one") as memory:
        memory.add(["A text."])
    assert open_memory(namespace="two").document_version == 0
