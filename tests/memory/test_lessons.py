"""Answers give credit to their sources, good ones teach the ranking, and what was taught can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ruvllm.attention import Pattern
from ruvllm.memory import Memory
from ruvllm.types import EdgeType, Feedback

from .fakes import interaction

SHIPS = [
    "Petrel",
    "Heron",
    "Osprey",
    "Plover",
    "Avocet",
    "Dunlin",
    "Curlew",
    "Gannet",
    "Fulmar",
    "Merlin",
    "Kestrel",
    "Wigeon",
]


def fleet(memory: Memory) -> None:
    memory.ingest(
        [{"title": f"MV {ship}", "text": f"MV {ship} is a ship. Her master is Captain {ship}son."} for ship in SHIPS]
    )


def ask(memory: Memory, id: str, ship: str, answer: str) -> list[int]:
    """Record an answered question with what a search shows; return the shown nodes."""
    query = f"Who is the master of MV {ship}?"
    vector = memory.encode([query])[0]
    shown = tuple(hit.node.id for hit in memory.search(query, 3, query_vector=vector))
    memory.record(interaction(id, query=query, answer=answer, source_ids=shown, query_vector=vector, session=id))
    memory.flush()
    return list(shown)


def asked(memory: Memory, ship: str) -> tuple[str, np.ndarray, np.ndarray, int]:
    """Return what a search for candidates takes."""
    query = f"Who is the master of MV {ship}?"
    vector = memory.encode([query])[0]
    return query, vector, vector, 10


def credits(memory: Memory, id: str) -> dict[int, tuple[float, str]]:
    rows = memory._store.rows("SELECT node, credit, decided_by FROM credits WHERE interaction = ?", (id,))
    return {node: (credit, by) for node, credit, by in rows}


def test_each_shown_source_of_an_answer_has_a_credit(memory: Memory) -> None:
    fleet(memory)
    shown = ask(memory, "a1", "Heron", "Captain Heronson")
    found = credits(memory, "a1")
    assert found.keys() == set(shown)
    assert max(found, key=lambda node: found[node][0]) == shown[0]
    assert {by for _, by in found.values()} == {"attribution"}


def test_an_answer_is_credited_without_another_search(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet(memory)
    again = credits_by_searching_again(memory, monkeypatch)
    monkeypatch.setattr(memory._search, "inputs", None)
    shown = ask(memory, "a2", "Heron", "Captain Heronson")
    found = credits(memory, "a2")
    assert found.keys() == set(shown)
    assert {node: credit for node, (credit, _) in found.items()} == pytest.approx(again, abs=1e-3)


def credits_by_searching_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    with monkeypatch.context() as patched:
        patched.setattr(memory._search.seen, "take", lambda query, vector: None)
        ask(memory, "a1", "Heron", "Captain Heronson")
    return {node: credit for node, (credit, _) in credits(memory, "a1").items()}


def test_one_search_serves_all_answers_to_its_question_that_wait_together(memory: Memory) -> None:
    fleet(memory)
    query, vector, *_ = asked(memory, "Heron")
    shown = tuple(hit.node.id for hit in memory.search(query, 3, query_vector=vector))
    both = [
        interaction(id, query=query, answer="Captain Heronson", source_ids=shown, query_vector=vector)
        for id in ("a1", "a2")
    ]
    found = memory._lessons.credits(memory._search, both)
    assert found["a1"] == found["a2"]
    assert found["a1"].keys() == set(shown)
    assert memory._lessons.credits(memory._search, both) == {}  # it is forgotten once it was used


def test_a_mark_stays_when_a_correction_attributes_anew(memory: Memory) -> None:
    fleet(memory)
    shown = ask(memory, "a1", "Heron", "nobody")
    before = credits(memory, "a1")
    memory.feedback("a1", Feedback(marks={shown[1]: True}))
    memory.feedback("a1", Feedback(correction="Captain Heronson"))
    after = credits(memory, "a1")
    assert after[shown[1]] == (1.0, "mark")
    assert after[shown[0]][0] > before[shown[0]][0]


def test_feedback_that_is_refused_leaves_the_credits(memory: Memory) -> None:
    fleet(memory)
    ask(memory, "a1", "Heron", "nobody")
    before, other = credits(memory, "a1"), memory.insert_node("something else")
    with pytest.raises(ValueError, match="marks"):
        memory.feedback("a1", Feedback(correction="Captain Heronson", marks={other: True}))
    assert credits(memory, "a1") == before


def test_too_few_good_answers_teach_nothing(memory: Memory) -> None:
    fleet(memory)
    ask(memory, "a1", "Heron", "Captain Heronson")
    memory.feedback("a1", Feedback(rating=5))
    report = memory.train_attention()
    assert (report.examples, report.accepted) == (1, False)


def test_only_good_answers_are_examples(memory: Memory) -> None:
    fleet(memory)
    for i, ship in enumerate(SHIPS):
        ask(memory, f"a{i}", ship, f"Captain {ship}son")
        memory.feedback(f"a{i}", Feedback(rating=1 if i < 5 else 5))
    assert memory.train_attention().examples == len(SHIPS) - 5


def test_a_question_that_many_rate_is_one_example_of_their_mean_credit(memory: Memory) -> None:
    fleet(memory)
    for id, helped in (("a1", 0), ("a2", 1)):
        shown = ask(memory, id, "Heron", "Captain Heronson")
        memory.feedback(id, Feedback(marks={shown[helped]: True, shown[1 - helped]: False}))
    (example,) = memory._lessons.examples(memory._search)
    ids = memory._search.inputs(*asked(memory, "Heron"))[0].tolist()
    first, second = (example.credit[ids.index(node)] for node in shown[:2])
    assert first == pytest.approx(second)
    assert first > 0.0


def test_what_everybody_asks_leaves_room_for_the_rest(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.lessons.MAX_EXAMPLES", 20)
    fleet(memory)
    for number, ship in enumerate([*SHIPS[:3], *[SHIPS[3]] * 30]):
        ask(memory, f"a{number}", ship, f"Captain {ship}son")
        memory.feedback(f"a{number}", Feedback(rating=5))
    assert len(memory._lessons.examples(memory._search)) == 4


def test_a_rating_teaches_nothing_about_turns_and_a_mark_does(memory: Memory) -> None:
    memory.ingest([{"turns": [{"speaker": "Ann", "text": f"{ship}: the master is {ship}son."} for ship in SHIPS]}])
    shown = ask(memory, "a1", "Heron", "Heronson")
    memory.feedback("a1", Feedback(rating=5))
    assert memory.train_attention().examples == 0
    memory.feedback("a1", Feedback(marks={shown[0]: True}))
    assert memory.train_attention().examples == 1


def test_a_marked_source_teaches_without_a_rating(memory: Memory) -> None:
    fleet(memory)
    shown = ask(memory, "a1", "Heron", "Captain Heronson")
    memory.feedback("a1", Feedback(rating=1, marks={shown[0]: True}))
    example = memory._lessons.examples(memory._search)[0]
    assert example.credit.max() == 1.0


@pytest.mark.parametrize("rating", [None, 1])
def test_a_corrected_answer_teaches_which_source_holds_the_right_one(memory: Memory, rating: int | None) -> None:
    fleet(memory)
    shown = ask(memory, "a1", "Heron", "nobody")
    memory.feedback("a1", Feedback(rating=rating, correction="Captain Heronson"))
    example = memory._lessons.examples(memory._search)[0]
    best = memory.search("Who is the master of MV Heron?", 1)[0]
    assert best.node.id not in shown  # the correction itself
    ids = memory._search.inputs(*asked(memory, "Heron"))[0]
    assert ids[example.credit.argmax()] == shown[0]
    assert example.ignored is not None and ids[example.ignored].tolist() == [best.node.id]


def test_a_correction_that_is_distrusted_teaches_nothing(memory: Memory) -> None:
    fleet(memory)
    ask(memory, "a1", "Heron", "nobody")
    memory.feedback("a1", Feedback(correction="Captain Heronson"))
    assert memory.train_attention().examples == 1
    memory.set_trust("feedback:a1", 0.0)
    assert memory.train_attention().examples == 0


def test_a_promoted_answer_is_not_blamed_by_its_own_question(memory: Memory) -> None:
    fleet(memory)
    shown = ask(memory, "a1", "Heron", "Captain Heronson")
    memory.feedback("a1", Feedback(rating=5))
    answer = memory.interaction("a1").answer_node
    assert answer is not None and answer not in shown
    memory.promote(answer)
    example = memory._lessons.examples(memory._search)[0]
    ids = memory._search.inputs(*asked(memory, "Heron"))[0]
    assert example.ignored is not None and ids[example.ignored].tolist() == [answer]


def test_a_correction_that_no_shown_source_says_teaches_nothing(memory: Memory) -> None:
    fleet(memory)
    ask(memory, "a1", "Heron", "nobody")
    memory.feedback("a1", Feedback(correction="Captain Zwingli"))
    assert memory.train_attention().examples == 0


def test_good_answers_teach_the_ranking_which_outlives_reopening(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    fleet(memory)
    for i, ship in enumerate(SHIPS):
        ask(memory, f"a{i}", ship, f"Captain {ship}son")
        memory.feedback(f"a{i}", Feedback(rating=5))
    untrained = [hit.score for hit in memory.search("master of MV Heron", 3)]
    report = memory.train_attention()
    assert report.accepted
    trained = [hit.score for hit in memory.search("master of MV Heron", 3)]
    assert trained != untrained
    memory.close()
    again = open_memory()
    assert [hit.score for hit in again.search("master of MV Heron", 3)] == pytest.approx(trained)
    assert again.rollback_attention() == 0
    assert [hit.score for hit in again.search("master of MV Heron", 3)] == pytest.approx(untrained, rel=1e-5)


def teach(memory: Memory, ships: Sequence[str]) -> None:
    """Let the masters of some ships be asked for, and each answer be rated good."""
    for ship in ships:
        ask(memory, f"of {ship}", ship, f"Captain {ship}son")
        memory.feedback(f"of {ship}", Feedback(rating=5))


def test_answers_that_were_learnt_from_make_no_other_version(memory: Memory) -> None:
    fleet(memory)
    teach(memory, SHIPS[1:])
    assert memory.train_attention().accepted
    again = memory.train_attention()
    assert (again.examples, again.accepted, again.reason) == (11, False, "nothing new since version 1")
    teach(memory, SHIPS[:1])
    assert memory.train_attention().accepted
    assert memory.attention_version == 2


def test_what_was_taken_back_does_not_come_back_by_itself(memory: Memory) -> None:
    fleet(memory)
    teach(memory, SHIPS[1:])
    assert memory.train_attention().accepted
    assert memory.rollback_attention() == 0
    assert memory.train_attention().reason == "nothing new since version 1, which was taken back"
    assert memory.attention_version == 0
    teach(memory, SHIPS[:1])
    assert memory.train_attention().accepted


def test_another_mark_on_an_answer_that_was_learnt_from_is_learnt(memory: Memory) -> None:
    fleet(memory)
    for i, ship in enumerate(SHIPS):
        shown = ask(memory, f"a{i}", ship, f"Captain {ship}son")
        memory.feedback(f"a{i}", Feedback(rating=5))
    memory.train_attention()
    memory.feedback(f"a{i}", Feedback(rating=5, marks={shown[1]: True}))
    assert memory.train_attention().reason != "nothing new since version 1"


def test_patterns_are_kept_with_the_brain(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    memory.train_on_patterns([Pattern((EdgeType.CITES,), 1.0)])
    memory.close()
    assert open_memory().get_edge_bias_weights()[EdgeType.CITES] > 0.0


def test_damaged_weights_leave_the_untrained_ranking(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    memory.train_on_patterns([Pattern((EdgeType.CITES,), 1.0)])
    memory.close()
    (memory.path / "checkpoints" / "attention" / "000001.npz").write_bytes(b"cut off")
    assert open_memory().get_edge_bias_weights()[EdgeType.CITES] == 0.0


def test_the_version_in_force_is_known_before_the_first_search(
    memory: Memory, open_memory: Callable[..., Memory]
) -> None:
    memory.train_on_patterns([Pattern((EdgeType.CITES,), 1.0)])
    memory.close()
    assert open_memory().attention_version == 1


def test_an_answer_whose_sources_are_gone_teaches_nothing(memory: Memory) -> None:
    fleet(memory)
    ask(memory, "a1", "Heron", "Captain Heronson")
    memory.feedback("a1", Feedback(rating=5))
    for source in memory.sources():
        memory.forget(source.source)
    assert memory._lessons.examples(memory._search) == []


def test_candidates_are_what_a_search_looks_at(memory: Memory) -> None:
    fleet(memory)
    found = memory.candidates("master of MV Heron")
    assert found is not None
    ids, inputs = found
    assert set(hit.node.id for hit in memory.search("master of MV Heron", 3)) <= set(ids.tolist())
    assert np.isfinite(inputs.node_features).all()
