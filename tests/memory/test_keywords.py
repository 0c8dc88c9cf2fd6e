"""ruvllm/memory/keywords.py: always what the database holds, whoever wrote it, with and without a snapshot."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.memory import Memory
from ruvllm.memory.keywords import Keywords, snapshot_path
from ruvllm.memory.nearest import SEARCHED_IDS
from ruvllm.text import query_terms, terms
from ruvllm.types import Feedback

from .fakes import interaction

OpenMemory = Callable[..., Memory]


@pytest.fixture
def saves_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is worth writing from the first node on."""
    monkeypatch.setattr("ruvllm.memory.keywords.MIN_SAVED", 1)
    monkeypatch.setattr("ruvllm.memory.keywords.MIN_UNSAVED", 1)


@pytest.fixture
def reads_no_texts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def must_not_read(self: Keywords, index: Any, ids: np.ndarray) -> None:
        raise AssertionError(f"texts were read: {ids}")

    return lambda: monkeypatch.setattr(Keywords, "_read_into", must_not_read)


def ranked(memory: Memory, question: str, **options: Any) -> list[str]:
    """Return the texts that words found, best first."""
    hits = [hit for hit in memory.search(question, 100, **options) if hit.keyword_rank is not None]
    return [hit.node.text for hit in sorted(hits, key=lambda hit: hit.keyword_rank or 0)]


def assert_in_step(memory: Memory) -> None:
    there = [row[0] for row in memory._store.rows(SEARCHED_IDS, (memory.namespace,))]
    assert memory._keywords.load().ids().tolist() == sorted(there)


def test_every_way_of_writing_keeps_it_in_step(memory: Memory) -> None:
    memory.add([{"text": f"word{i} common", "source": f"s{i}"} for i in range(5)])
    assert_in_step(memory)
    memory.add([{"text": "changed common", "source": "s1"}, {"text": "word9", "source": "s9"}])
    assert_in_step(memory)
    assert ranked(memory, "word1") == []
    memory.forget("s2")
    node = memory.insert_node("a fact about llamas")
    assert_in_step(memory)
    assert ranked(memory, "llama") == ["a fact about llamas"]
    memory.record(interaction(answer="never indexed"))
    for correction in ("zebras it is", "okapis it is"):
        memory.feedback("a1", Feedback(correction=correction))
        assert_in_step(memory)
    assert ranked(memory, "zebras okapis", session=None) == ["okapis it is"]
    assert node in memory._keywords.load().ids()


def test_title_heading_and_question_are_found_with_the_text(memory: Memory) -> None:
    memory.add([{"text": "It weighs a ton.", "title": "The walrus", "source": "s"}, "A ton of bricks."])
    assert ranked(memory, "walrus") == ["It weighs a ton."]


def test_text_without_spaces_is_found_by_its_parts(memory: Memory) -> None:
    memory.add(["私は東京都に住んでいます。", "京都は古い。"])
    assert ranked(memory, "東京")[0] == "私は東京都に住んでいます。"
    assert ranked(memory, "京都")[0] == "京都は古い。"


def test_an_import_is_searched(memory: Memory, open_memory: OpenMemory, tmp_path: Path) -> None:
    memory.add(["exported words"])
    memory.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.add(["own words"])
    assert ranked(other, "words") == ["own words"]
    other.import_file(tmp_path / "x.jsonl")
    assert sorted(ranked(other, "words")) == ["exported words", "own words"]


def test_own_answers_on_probation_rank_beside_the_rest(memory: Memory) -> None:
    memory.add(["zebras graze", "lions hunt zebras and other game in the evening", "fish swim"])
    memory.record(interaction(query="who", answer="zebras zebras okapis", session="alice"))
    memory.flush()
    assert ranked(memory, "zebras okapis", session="alice")[0] == "zebras zebras okapis"
    assert "zebras zebras okapis" not in ranked(memory, "zebras okapis", session="bob")
    assert "zebras zebras okapis" not in ranked(memory, "zebras okapis")
    assert_in_step(memory)


def test_a_filter_limits_what_words_find(memory: Memory) -> None:
    memory.add({"text": f"zebra {i}", "metadata": {"n": i % 3}} for i in range(30))
    assert sorted(ranked(memory, "zebra", filter={"n": 1})) == sorted(f"zebra {i}" for i in range(30) if i % 3 == 1)
    assert ranked(memory, "zebra", filter={"n": 7}) == []


def test_a_reader_follows_the_writer(memory: Memory, open_memory: OpenMemory) -> None:
    memory.add([{"text": "first zebra", "source": "a"}])
    reader = open_memory(read_only=True)
    assert ranked(reader, "zebra") == ["first zebra"]
    memory.add([{"text": "second zebra", "source": "b"}])
    assert sorted(ranked(reader, "zebra")) == ["first zebra", "second zebra"]
    memory.forget("a")
    assert ranked(reader, "zebra") == ["second zebra"]


def test_a_reader_that_fails_to_follow_tries_again(
    memory: Memory, open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.add([{"text": "first zebra", "source": "a"}])
    reader = open_memory(read_only=True)
    assert ranked(reader, "zebra") == ["first zebra"]
    memory.add([{"text": "second zebra", "source": "b"}])
    with monkeypatch.context() as patched:

        def fail(self: Keywords, index: Any, ids: np.ndarray) -> None:
            raise OSError

        patched.setattr(Keywords, "_read_into", fail)
        with pytest.raises(OSError):
            ranked(reader, "zebra")
    assert sorted(ranked(reader, "zebra")) == ["first zebra", "second zebra"]


def test_a_failure_beside_a_commit_loses_nothing(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add([{"text": "first zebra", "source": "a"}])
    assert ranked(memory, "zebra") == ["first zebra"]
    with monkeypatch.context() as patched:

        def fail(self: Keywords, index: Any, ids: np.ndarray) -> None:
            raise MemoryError

        patched.setattr("ruvllm.memory.keywords.READ_LATER", 0)
        patched.setattr(Keywords, "_read_into", fail)
        with pytest.raises(MemoryError):
            memory.add([{"text": "second zebra", "source": "b"}])
    assert sorted(ranked(memory, "zebra")) == ["first zebra", "second zebra"]
    assert 2 in memory._nearest.load()


def test_new_texts_wait_together_for_the_next_search(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add([{"text": "first zebra", "source": "a"}])
    assert ranked(memory, "zebra") == ["first zebra"]
    reads: list[list[int]] = []
    read = Keywords._read_into
    monkeypatch.setattr(
        Keywords, "_read_into", lambda self, index, ids: (reads.append(ids.tolist()), read(self, index, ids))
    )
    for name in "bcd":
        memory.add([{"text": f"zebra {name}", "source": name}])
    memory.forget("c")
    assert sorted(ranked(memory, "zebra")) == ["first zebra", "zebra b", "zebra d"]
    assert reads == [[2, 3, 4]]


@pytest.mark.usefixtures("saves_early")
def test_a_snapshot_spares_reading_the_texts(open_memory: OpenMemory, reads_no_texts: Callable[[], None]) -> None:
    rng = random.Random(0)
    words = [f"word{i}" for i in range(40)]
    memory = open_memory()
    memory.add(" ".join(rng.choices(words, k=8)) for _ in range(50))
    before = ranked(memory, "word1 word2 word3")
    memory.close()
    assert snapshot_path(memory.path, "default").exists()
    reads_no_texts()
    assert ranked(open_memory(), "word1 word2 word3") == before


@pytest.mark.usefixtures("saves_early")
def test_what_changed_since_the_snapshot_is_caught_up_with(open_memory: OpenMemory, brain: Path) -> None:
    memory = open_memory()
    memory.add({"text": f"zebra {i}", "source": f"s{i}"} for i in range(4))
    memory.search("zebra")
    memory.close()
    saved = snapshot_path(brain, "default").read_bytes()
    memory = open_memory()
    memory.forget("s0")
    memory.add([{"text": "zebra 9", "source": "s9"}])
    memory.search("zebra")
    memory.close()
    snapshot_path(brain, "default").write_bytes(saved)  # as if the process had died before it saved
    memory = open_memory()
    assert sorted(ranked(memory, "zebra")) == ["zebra 1", "zebra 2", "zebra 3", "zebra 9"]
    assert_in_step(memory)


@pytest.mark.usefixtures("saves_early")
def test_a_wrong_snapshot_is_found_mended_and_never_used(open_memory: OpenMemory, brain: Path) -> None:
    memory = open_memory()
    memory.add([f"zebra {i}" for i in range(4)])
    memory.search("zebra")
    memory.close()
    file = snapshot_path(brain, "default")
    good = file.read_bytes()
    for bad in (b"", b"\0" * 100, good[:-1], good[:40] + b"?" + good[41:], good.replace(b"terms 1", b"terms 9", 1)):
        file.write_bytes(bad)
        memory = open_memory()
        assert len(ranked(memory, "zebra")) == 4
        (finding,) = memory.check().findings
        assert finding.what.startswith("keywords default.bm25: ") and finding.severity == "warning"
        assert memory.check(repair=True).ok
        assert memory.check().findings == ()
        memory.close()


@pytest.mark.usefixtures("saves_early")
def test_the_snapshot_of_another_database_is_not_used(open_memory: OpenMemory, tmp_path: Path) -> None:
    for name, text in (("one", "zebra"), ("two", "okapi")):
        memory = open_memory(tmp_path / name)
        memory.add([text, "same"])
        memory.search(text)
        memory.close()
    snapshot_path(tmp_path / "two", "default").write_bytes(snapshot_path(tmp_path / "one", "default").read_bytes())
    memory = open_memory(tmp_path / "two")
    assert ranked(memory, "zebra") == []
    assert ranked(memory, "okapi") == ["okapi"]


def test_few_documents_are_not_worth_a_snapshot(open_memory: OpenMemory, brain: Path) -> None:
    memory = open_memory()
    memory.add(["zebra"])
    memory.search("zebra")
    memory.close()
    assert not snapshot_path(brain, "default").exists()


def test_scores_are_those_of_the_texts_terms(memory: Memory) -> None:
    memory.add(["zebras graze", "zebras sleep standing"])
    found = memory._keywords.search(query_terms("zebra sleep"), 10)
    index = memory._keywords.load()
    documents = [terms(text) for text in ("zebras graze", "zebras sleep standing")]
    indptr = np.cumsum([0, *map(len, documents)])
    expected = index.scores_of(np.unique(terms("zebra sleep")), np.concatenate(documents), indptr)
    assert [found[1], found[2]] == expected.tolist()


def test_it_tells_which_nodes_hold_all_of_some_words(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.keywords.FEW", 2)
    memory.add(["often red barn", "often blue barn", "often red house"])
    keywords = memory._keywords
    holding = [keywords.holding(terms(words)) for words in ("red barn", "often blue", "red nothing", "often")]
    assert [None if ids is None else sorted(ids.tolist()) for ids in holding] == [[1], [2], [], None]
    memory.add(["often blue again"])
    found = keywords.holding(terms("often blue"))
    assert found is not None and sorted(found.tolist()) == [2, 4]
