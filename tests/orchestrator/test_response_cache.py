"""ruvllm/orchestrator/response_cache.py: what is kept, for how long, and under which key."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ruvllm.config import CacheConfig
from ruvllm.orchestrator.response_cache import CacheKey, ResponseCache, key_of, same_every_time
from ruvllm.types import Constraints, GenerationOptions, Response, Route

VECTOR = np.eye(8, dtype=np.float32)[0]


def response(text: str = "Every six weeks.") -> Response:
    return Response("r1", "When?", text, (), Route("echo", 512, 0.0, 1.0), 0.9, "stop")


def key(question: str = "When does the ship arrive?", *depends_on: object) -> CacheKey:
    found = key_of(question, depends_on)
    assert found is not None
    return found


def turned(cosine: float) -> np.ndarray:
    """A unit vector of that cosine to VECTOR."""
    vector = np.zeros(8, np.float32)
    vector[:2] = cosine, (1.0 - cosine**2) ** 0.5
    return vector


def test_what_was_put_comes_back() -> None:
    cache = ResponseCache(CacheConfig())
    cache.put(key(), response(), VECTOR)
    entry = cache.get(key())
    assert entry is not None and entry.response == response() and cache.get(key("Why?")) is None


def test_white_space_and_unicode_forms_make_no_difference_and_case_does() -> None:
    assert key("Où est  le\n café?") == key("Où est le cafe\u0301?")
    assert key("Who is Mark?") != key("Who is mark?")


@pytest.mark.parametrize(
    "other",
    [(1, {"a": 1}), (0, {"a": 2}), (0, {"a": 1}, Constraints(privacy="local")), (0, {"a": 1}, GenerationOptions())],
)
def test_all_that_an_answer_depends_on_is_in_the_key(other: tuple[object, ...]) -> None:
    assert key("Why?", 0, {"a": 1}) != key("Why?", *other)


def test_the_order_of_a_filter_makes_no_difference() -> None:
    assert key("Why?", {"a": 1, "b": {"c": 2, "d": 3}}) == key("Why?", {"b": {"d": 3, "c": 2}, "a": 1})


def test_what_cannot_be_written_has_no_key() -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    assert key_of("Why?", [endless]) is None and key_of("Why?", [{(1, 2): 3}]) is None
    assert key_of("Why?", ["\ud800"]) is None


def test_the_least_recently_used_goes_first() -> None:
    cache = ResponseCache(CacheConfig(max_entries=2))
    cache.put(key("a"), response(), VECTOR)
    cache.put(key("b"), response(), VECTOR)
    cache.get(key("a"))
    cache.put(key("c"), response(), VECTOR)
    assert [cache.get(key(name)) is not None for name in "abc"] == [True, False, True]


def test_bytes_are_bounded_and_counted_down_again() -> None:
    cache = ResponseCache(CacheConfig(max_bytes=50_000))
    for i in range(100):
        cache.put(key(f"question {i}"), response("x" * 5_000), VECTOR)
        cache.put(key(f"question {i}"), response("x" * 5_000), VECTOR)
    assert 0 < cache.bytes <= 50_000 and 5 <= len(cache) <= 9
    cache.put(key("huge"), response("x" * 60_000), VECTOR)
    assert cache.get(key("huge")) is None and len(cache) >= 5
    cache.clear()
    assert (cache.bytes, len(cache)) == (0, 0)


def test_dropping_a_question_drops_it_under_every_key_and_nothing_else() -> None:
    cache = ResponseCache(CacheConfig())
    for depends_on in range(3):
        cache.put(key("Why?", depends_on), response(), VECTOR)
    cache.put(key("Who?", 0), response(), VECTOR)
    cache.drop(" Why? ")
    assert len(cache) == 1 and cache.get(key("Who?", 0)) is not None


def test_another_wording_is_no_hit_by_default() -> None:
    cache = ResponseCache(CacheConfig())
    cache.put(key("Where is the sled kept?"), response(), VECTOR)
    assert cache.similar(key("Where is the sled stored?"), VECTOR) is None


def test_another_wording_is_a_hit_from_the_threshold_on() -> None:
    cache = ResponseCache(CacheConfig(similarity=0.9))
    cache.put(key("Where is the sled kept?"), response(), VECTOR)
    asked = key("Where is the sled stored?")
    assert cache.similar(asked, turned(0.95)) is not None and cache.similar(asked, turned(0.85)) is None


def test_near_is_not_enough_where_a_number_differs_or_the_rest_does() -> None:
    cache = ResponseCache(CacheConfig(similarity=0.9))
    cache.put(key("How many beds are in hut 3?"), response(), VECTOR)
    assert cache.similar(key("How many beds are in hut 4?"), VECTOR) is None
    assert cache.similar(key("How many beds are in hut 3?", "another document version"), VECTOR) is None


def test_the_nearest_of_several_wordings_is_taken_that_asks_the_same() -> None:
    cache = ResponseCache(CacheConfig(similarity=0.5))
    for i, (question, cosine) in enumerate(
        [("Is hut 2 cold?", 0.99), ("Is hut 1 chilly?", 0.9), ("Is hut 1 icy?", 0.8)]
    ):
        cache.put(key(question), response(str(i)), turned(cosine))
    entry = cache.similar(key("Is hut 1 freezing?"), VECTOR)
    assert entry is not None and entry.response.text == "1"


def test_only_what_is_not_sampled_or_has_a_seed_is_the_same_every_time() -> None:
    assert same_every_time(GenerationOptions()) and same_every_time(GenerationOptions(temperature=1.0, seed=1))
    assert not same_every_time(GenerationOptions(temperature=1.0))


def test_threads_share_it() -> None:
    cache = ResponseCache(CacheConfig(max_entries=10))

    def use(number: int) -> None:
        for i in range(200):
            cache.put(key(f"{(number + i) % 20}"), response(), VECTOR)
            cache.get(key(f"{i % 20}"))
            cache.drop(f"{i % 7}")

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) <= 10 and cache.bytes == sum(entry.bytes for entry in cache._entries.values())
