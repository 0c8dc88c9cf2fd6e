"""The context builder: no repeated passages, never over the budget, sources numbered and marked."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.context import Prompt, build_prompt, mark_used, says_the_example
from ruvllm.types import Hit, Message, Node, NodeType, Source, Turn

WORDS = "terns nest on cliffs above the bay while boats wait for calm weather and cooks bake rye bread".split()


def count_words(messages: Sequence[Message]) -> int:
    return sum(len(m.content.split()) + 3 for m in messages)


def passage(number: int, sentences: int = 3) -> str:
    return " ".join(
        f"Passage {number} says in sentence {i} that {' '.join(WORDS[(number + i) % 9 :][:7])}."
        for i in range(sentences)
    )


def hit(number: int, text: str | None = None, type: NodeType = NodeType.DOCUMENT) -> Hit:
    node = Node(number, type, text or passage(number), source=f"{number}.md", metadata={"title": f"T{number}"})
    return Hit(node, score=1.0 / number)


def build(
    hits: list[Hit],
    turns: list[Turn] | None = None,
    budget: int = 10_000,
    k: int = 10,
    relevance: Callable[[Sequence[str]], np.ndarray] | None = None,
    max_sentences: int | None = None,
) -> Prompt:
    return build_prompt(
        "Where do terns nest?",
        hits,
        turns or [],
        count_tokens=count_words,
        relevance=relevance or (lambda texts: -np.arange(len(texts), dtype=np.float32)),
        budget_tokens=budget,
        max_sources=k,
        max_sentences=max_sentences,
        duplicate_similarity=0.85,
    )


def test_context_drops_near_duplicates() -> None:
    first = passage(1, sentences=12)
    again = first.replace("sentence 11", "sentence eleven")
    prompt = build([hit(1, first), hit(2, again), hit(3)])
    assert [s.node_id for s in prompt.sources] == [1, 3]
    assert [s.number for s in prompt.sources] == [1, 2]


@given(budget=st.integers(70, 450), n=st.integers(0, 8), turns=st.integers(0, 5))
def test_context_never_exceeds_its_budget(budget: int, n: int, turns: int) -> None:
    history = [Turn(f"Question {i} about boats?", f"Answer {i} on boats.", float(i)) for i in range(turns)]
    prompt = build([hit(i) for i in range(1, n + 1)], history, budget)
    assert prompt.tokens == count_words(prompt.messages) <= budget


@given(budget=st.integers(70, 450))
def test_context_fits_budget_exactly(budget: int) -> None:
    hits = [hit(i) for i in range(1, 9)]
    prompt = build(hits, budget=budget)
    tight = build(hits, budget=prompt.tokens)  # the last token of a budget is used ...
    assert tight == prompt
    if prompt.sources:  # ... and one token less costs a sentence
        assert build(hits, budget=prompt.tokens - 1).tokens < prompt.tokens


def test_context_keeps_the_sentences_nearest_to_the_question() -> None:
    hits = [hit(1, passage(1, 6)), hit(2, passage(2, 6))]
    wanted = "Passage 2 says in sentence 4"

    def relevance(texts: Sequence[str]) -> np.ndarray:
        return np.array([wanted in text for text in texts], np.float32)

    prompt = build(hits, budget=100, relevance=relevance)
    assert prompt.sources[0].node_id == 2 and prompt.sources[0].number == 1
    assert wanted in prompt.sources[0].text
    assert len(prompt.sources[0].text) < len(passage(2, 6))


def test_context_shows_no_more_sentences_than_asked() -> None:
    prompt = build([hit(1), hit(2)], max_sentences=2)
    assert [s.text.count(".") for s in prompt.sources] == [2]


def test_context_keeps_reading_order_within_a_source() -> None:
    backwards = build([hit(1, passage(1, 8))], budget=105, relevance=lambda texts: np.arange(len(texts)))
    (source,) = backwards.sources
    numbers = [int(n) for n in re.findall(r"in sentence (\d+)", source.text)]
    assert numbers == sorted(numbers) and numbers[-1] == 7 and numbers[0] > 0


def test_the_best_source_stands_last_before_the_question() -> None:
    content = build([hit(1), hit(2)]).messages[-1].content
    assert content.index("Passage 2 says") < content.index("Passage 1 says")
    assert "[1] Passage 1 says" in content and "[2] Passage 2 says" in content
    assert content.startswith("Where do terns nest?") and content.endswith("Where do terns nest?")


def test_context_prefers_the_newest_turns() -> None:
    history = [Turn(f"Old question {i}?", "word " * 20, float(i)) for i in range(10)]
    prompt = build([], history, budget=260)
    kept = [m.content for m in prompt.messages if m.content.startswith("Old question")]
    assert kept and kept == [t.query for t in history[-len(kept) :]]


def test_context_leaves_conversation_nodes_to_the_turns() -> None:
    prompt = build([hit(1, type=NodeType.ANSWER), hit(2, type=NodeType.QUERY), hit(3, type=NodeType.FACT)])
    assert [s.node_id for s in prompt.sources] == [3]


def test_context_refuses_a_question_over_the_budget() -> None:
    with pytest.raises(ValueError, match="query is too long"):
        build([], budget=6)


def corrected(number: int, question: str) -> Hit:
    metadata = {"corrects": "a1", "question": question}
    return Hit(Node(number, NodeType.FACT, "They nest on the roof.", metadata=metadata), score=0.1)


def test_a_correction_of_this_very_question_stands_alone() -> None:
    prompt = build([hit(1), hit(2), corrected(3, "where do the terns nest")])
    assert [(s.node_id, s.title) for s in prompt.sources] == [(3, "where do the terns nest")]


def test_a_correction_of_another_question_stands_among_the_others() -> None:
    prompt = build([hit(1), corrected(2, "Where do gulls nest?"), hit(3)])
    assert [s.node_id for s in prompt.sources] == [1, 2, 3]


def source(number: int, text: str) -> Source:
    return Source(number, number, f"{number}.md", None, text, 1.0)


def test_sources_are_marked_by_citation_and_by_overlap() -> None:
    sources = [
        source(1, "Terns nest on high cliffs."),
        source(2, "Bread is baked on Fridays."),
        source(3, "Boats wait in the bay."),
    ]
    marked = mark_used("The cook bakes bread on Fridays. Something else entirely [3].", sources)
    assert [s.used for s in marked] == [False, True, True]


def test_no_source_is_marked_for_an_answer_from_elsewhere() -> None:
    marked = mark_used("Quantum chromodynamics describes gluons.", [source(1, "Terns nest on high cliffs.")])
    assert [s.used for s in marked] == [False]
    assert mark_used("", [source(1, "x")])[0].used is False


@pytest.mark.parametrize(
    "text", ["item and " * 400, "港の倉庫には雪上車がある" * 200, "x" * 5_000], ids=["a list", "no spaces", "one word"]
)
def test_where_no_sentence_fits_the_nearest_is_shown_as_far_as_it_fits(text: str) -> None:
    def count_characters(messages: Sequence[Message]) -> int:
        return sum(len(m.content) for m in messages)

    def built(budget: int) -> Prompt:
        return build_prompt(
            "Where do terns nest?",
            [hit(1, text)],
            (),
            count_tokens=count_characters,
            relevance=lambda texts: np.zeros(len(texts)),
            budget_tokens=budget,
            max_sources=5,
            duplicate_similarity=0.85,
        )

    prompt = built(600)
    (source,) = prompt.sources
    assert text.startswith(source.text) and 590 < prompt.tokens <= 600
    assert built(100).sources == () and built(100).passages == 1


def test_without_a_text_there_is_no_example_to_repeat() -> None:
    assert len(build([]).messages) == 2
    assert len(build([hit(1)]).messages) == 4


def test_an_answer_by_the_example_is_told_from_one_by_a_source() -> None:
    example = build([hit(1)]).messages[2].content
    (source,) = build([hit(1, f"The bridge was built by {example}.")]).sources
    assert says_the_example(example, "Where do terns nest?", build([hit(1)]).sources)
    assert not says_the_example(example, "Who built the bridge?", [source])
    assert not says_the_example("on cliffs", "Where do terns nest?", build([hit(1)]).sources)
