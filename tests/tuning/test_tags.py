"""What a trace is about, how hard it was, and what a wrong answer does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memory.fakes import WordEmbedder

from ruvllm.memory.traces import StoredTrace, TraceSource, TriedTier
from ruvllm.tuning.subjects import DANGER, DOMAINS, Subjects
from ruvllm.tuning.tags import Tagger, text_difficulty

TAGGER = Tagger(WordEmbedder().encode)


def stored(**fields: Any) -> StoredTrace:
    values = {field: None for field in StoredTrace.__dataclass_fields__}
    values |= {"query": "How are taxes, bills and loans paid?", "used": frozenset(), "sources": (), "tried": ()}
    return StoredTrace(**values | fields)  # type: ignore[arg-type]


def test_the_domain_is_that_of_the_nearest_example() -> None:
    tags = TAGGER.tags(stored())
    assert (tags["domain"].value, tags["risk"].value, tags["domain"].made_by) == (
        "money",
        "elevated",
        "nearest example",
    )


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_example_is_of_its_own_domain(domain: str) -> None:
    subjects = Subjects(WordEmbedder().encode)
    for sentence in DOMAINS[domain]:
        assert subjects.domain_and_risk(WordEmbedder().encode([sentence])[0])[0] == domain


def test_what_may_kill_is_of_high_risk() -> None:
    assert TAGGER.tags(stored(query=DANGER[1]))["risk"].value == "high"


def test_a_question_like_no_example_is_of_another_domain() -> None:
    vector = np.zeros(64, np.float32)
    assert TAGGER.tags(stored(query_vector=vector))["domain"].value == "other"


def test_tiers_that_failed_make_a_request_hard() -> None:
    tried = (
        TriedTier("small", False, 0.1, "x"),
        TriedTier("large", True, 0.7, None),
        TriedTier("mid", False, None, "y"),
    )
    tag = TAGGER.tags(stored(tried=tried, expected=("small", 0.9), confidence=0.9))["difficulty"]
    assert (tag.value, tag.made_by) == (0.6, "how the tiers did")


def test_else_the_router_says_how_hard_a_request_is() -> None:
    tag = TAGGER.tags(stored(expected=("small", 0.75), confidence=0.9))["difficulty"]
    assert (tag.value, tag.made_by) == (0.25, "the router's estimate of the cheapest tier")


def test_else_its_words_do() -> None:
    tag = TAGGER.tags(stored())["difficulty"]
    assert (tag.value, tag.made_by) == (round(text_difficulty(stored().query), 4), "the question's words")


def test_long_questions_with_conditions_look_harder() -> None:
    easy = "When does the supply ship arrive?"
    hard = "Explain why, if a convex function is differentiable, its derivative is not decreasing, and prove it."
    assert text_difficulty(easy) < 0.5 < text_difficulty(hard)


def test_the_sources_that_were_used_state_the_domain() -> None:
    def source(node: int, domain: str) -> TraceSource:
        return TraceSource(node, "", "", {"domain": domain}, True, None, None)

    sources = (source(1, "tides"), source(2, "tides"), source(3, "law"))
    assert TAGGER.tags(stored(sources=sources))["domain"].value == "tides"
    used = replace(stored(sources=sources), used=frozenset({3}))
    assert (TAGGER.tags(used)["domain"].value, TAGGER.tags(used)["risk"].value) == ("law", "elevated")
