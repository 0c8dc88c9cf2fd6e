"""ruvllm/memory/filters.py: every operator against a plain evaluator, times, what is refused, what is kept."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.memory import filters as filters_module
from ruvllm.memory.filters import condition_of
from ruvllm.memory.store import Store

from .fakes import PATIENT

COMPARE = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
COLUMNS = ("type", "source", "session", "namespace", "created", "last_used")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compares(item: Any, comparisons: Mapping[str, Any]) -> bool:
    return all(
        ((is_number(item) and is_number(value)) or (isinstance(item, str) and isinstance(value, str)))
        and COMPARE[name](item, value)
        for name, value in comparisons.items()
    )


def is_any(has: Any, values: list[Any]) -> bool:
    items = has if isinstance(has, list) else [has]
    return any(has is None if v is None else any(not isinstance(i, dict) and i == v for i in items) for v in values)


def field_passes(has: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return is_any(has, wanted if isinstance(wanted, list) else [wanted])
    items = has if isinstance(has, list) else [has]
    comparisons = {name: value for name, value in wanted.items() if name in COMPARE}
    return (
        ("eq" not in wanted or is_any(has, [wanted["eq"]]))
        and ("ne" not in wanted or not is_any(has, [wanted["ne"]]))
        and ("in" not in wanted or is_any(has, wanted["in"]))
        and ("exists" not in wanted or (has is not None) == wanted["exists"])
        and (not comparisons or any(compares(item, comparisons) for item in items))
    )


def passes(node: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    """The plain evaluator: `node` is the metadata with the columns beside it."""
    combined = {
        "and": lambda parts: all(passes(node, part) for part in parts),
        "or": lambda parts: any(passes(node, part) for part in parts),
        "not": lambda part: not passes(node, part),
    }
    return all(
        combined[field](wish) if field in combined else field_passes(node.get(field), wish)
        for field, wish in wanted.items()
    )


NUMBERS = st.one_of(st.integers(-3, 3), st.floats(-3, 3), st.sampled_from([0.1, 0.5, 2**53 + 1]))
STRINGS = st.sampled_from(["a", "b", "", "1", 'q"', "2024-01-05", "2024-02", "é", "[1]"])
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, STRINGS)
KEYS = st.sampled_from(["k", "year", "tags", "$.k", 'a"b', "x y", "", "a\\n"])
METADATA = st.dictionaries(
    KEYS, st.one_of(VALUES, st.lists(VALUES, max_size=3), st.dictionaries(KEYS, VALUES, max_size=2)), max_size=4
)


def comparisons(of: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(list(COMPARE)), of, min_size=1, max_size=2)


OPERATIONS = st.one_of(
    comparisons(NUMBERS),
    comparisons(STRINGS),
    st.fixed_dictionaries(
        {}, optional={"eq": VALUES, "ne": VALUES, "in": st.lists(VALUES, max_size=3), "exists": st.booleans()}
    ).filter(bool),
)
TEXTS = st.one_of(st.none(), st.sampled_from(["Fact", "Document", "s1", "default"]))
LEAVES = st.one_of(
    st.dictionaries(KEYS, st.one_of(VALUES, st.lists(VALUES, max_size=3), OPERATIONS), max_size=2),
    st.dictionaries(st.sampled_from(COLUMNS[:4]), st.one_of(TEXTS, st.builds(lambda v: {"ne": v}, TEXTS)), max_size=2),
    st.builds(lambda c: {"created": c}, comparisons(st.integers(0, 5))),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda fs: {"and": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda fs: {"or": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda f: {"not": f}, inner),
    ),
    max_leaves=6,
)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(tmp_path / "brain.db", read_only=False)
    yield store
    store.close()


@settings(PATIENT, max_examples=300)
@given(st.lists(METADATA, min_size=1, max_size=6), FILTERS)
def test_filters_agree_with_a_plain_evaluator(store: Store, metadata: list[dict[str, Any]], wanted: Any) -> None:
    nodes = [
        {**meta, "type": ("Fact", "Document")[i % 2], "source": ("s1", None)[i % 2], "namespace": "default",
         "session": None, "created": float(i), "last_used": 9.0}
        for i, meta in enumerate(metadata)
    ]  # fmt: skip

    def fill(connection: Any) -> None:
        connection.execute("DELETE FROM nodes")
        connection.executemany(
            "INSERT INTO nodes (id, namespace, type, source, text, metadata, created, last_used) "
            "VALUES (?, 'default', ?, ?, 'x', ?, ?, 9.0)",
            [(i, n["type"], n["source"], json.dumps(metadata[i], ensure_ascii=False), i) for i, n in enumerate(nodes)],
        )

    store.write(fill)
    condition, parameters = condition_of(wanted)
    found = {row[0] for row in store.rows(f"SELECT id FROM nodes WHERE {condition}", parameters)}
    assert found == {i for i, node in enumerate(nodes) if passes(node, wanted)}


def test_times_are_seconds_or_iso(memory: Memory) -> None:
    old, new = memory.insert_node("an old tale"), memory.insert_node("a new tale")
    day = 1_704_153_600.0  # 2024-01-02
    memory._store.write(lambda c: c.execute("UPDATE nodes SET created = ? WHERE id = ?", (day, old)).fetchall())
    for condition, found in (
        ({"created": {"lt": "2024-01-02T00:00:01"}}, old),
        ({"created": {"gte": "2024-01-02T01:00:00+01:00", "lt": day + 1}}, old),
        ({"created": day}, old),
        ({"created": {"gt": "2024-01-02"}}, new),
    ):
        assert [hit.node.id for hit in memory.search("tale", filter=condition)] == [found]


def test_only_the_own_namespace_can_match(memory: Memory) -> None:
    memory.add(["a tale"])
    assert len(memory.search("tale", filter={"namespace": "default"})) == 1
    assert memory.search("tale", filter={"namespace": "other"}) == []


def test_a_filter_that_keeps_one_percent_still_returns_k(
    open_memory: Callable[..., Memory], hnsw_config: Config
) -> None:
    memory = open_memory(config=hnsw_config)
    memory.add({"text": f"item{i} of the shelf", "metadata": {"n": i}} for i in range(1000))
    assert memory.stats().index == "ready"
    found = memory.search("item3 of the shelf", k=10, filter={"n": {"gte": 500, "lt": 510}})
    assert {hit.node.metadata["n"] for hit in found} == set(range(500, 510))


DEEP: dict[str, Any] = {"a": 1}
for _ in range(40):
    DEEP = {"not": DEEP}
ENDLESS: dict[str, Any] = {}
ENDLESS["or"] = [ENDLESS, ENDLESS]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"year": {"gt3": 1}}, ValueError, "year: unknown operator 'gt3'; did you mean gt"),
        ({"year": {"$gte": 1}}, ValueError, "year: unknown operator '\\$gte'; did you mean gte"),
        ({"year": {1: 1}}, ValueError, "year: unknown operator 1"),
        ({"year": {}}, ValueError, "year names no operator"),
        ({"year": {"gte": None}}, TypeError, "year: gte compares"),
        ({"year": {"gte": [1]}}, TypeError, "year must be"),
        ({"year": {"gte": 1, "lt": "2"}}, TypeError, "year is compared both with"),
        ({"year": {"in": 3}}, TypeError, "year: in takes a list"),
        ({"year": {"exists": 1}}, TypeError, "year: exists takes True or False"),
        ({"year": {"eq": "\ud800"}}, ValueError, "year is not valid text"),
        ({"\ud800": {"exists": True}}, ValueError, "filter: a field is not valid text"),
        ({"\ud800": 1}, ValueError, "filter: a field is not valid text"),
        ({"source": 3}, TypeError, "source must be a str"),
        ({"created": {"gt": "yesterday"}}, ValueError, "created must be seconds or an ISO-8601 time"),
        ({"created": True}, TypeError, "created must be seconds"),
        ({"and": {"a": 1}}, TypeError, "and takes a list of filters"),
        ({"or": [3]}, TypeError, "filter must be a mapping"),
        ({"not": [3]}, TypeError, "filter must be a mapping"),
        (DEEP, ValueError, "nested more than 16 deep"),
        (ENDLESS, ValueError, "nested more than 16 deep|more than 256 conditions"),
        ({"or": [{"a": i} for i in range(500)]}, ValueError, "more than 256 conditions"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_named(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        condition_of(bad)


def test_the_largest_filter_runs(memory: Memory) -> None:
    memory.add(["a tale"])
    wanted: dict[str, Any] = {"or": [{'"': i} for i in range(200)]}
    for _ in range(15):
        wanted = {"not": wanted}
    assert len(memory.search("tale", filter=wanted)) == 1


def test_what_a_filter_lets_through_is_read_once_until_something_changes(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters_module, "KEPT_RESULTS", 1)
    memory.add([{"text": "a tale", "metadata": {"n": 1}}])
    passing, condition = memory._passing, condition_of({"n": 1})
    first = passing.ids_of(condition)
    assert passing.ids_of(condition) is first
    passing.ids_of(condition_of({"n": 2}))
    assert passing.ids_of(condition) is not first
    memory.add([{"text": "another tale", "metadata": {"n": 1}}])
    assert passing.ids_of(condition).tolist() == [1, 2]


def test_counts_of_uses_change_nothing_but_the_time_of_the_last_use(memory: Memory) -> None:
    memory.add([{"text": "a tale", "metadata": {"n": 1}}])
    by_key, by_time = condition_of({"n": 1}), condition_of({"last_used": {"gt": time.time() + 1.0}})
    kept = memory._passing.ids_of(by_key)
    assert memory._passing.ids_of(by_time).tolist() == []
    memory._store.write(lambda connection: connection.execute("UPDATE nodes SET last_used = 1e11") and None)
    assert memory._passing.ids_of(by_key) is kept
    assert memory._passing.ids_of(by_time).tolist() == [1]


def test_who_reads_a_brain_that_another_writes_asks_again_after_each_commit(memory: Memory) -> None:
    memory.add([{"text": "a tale", "metadata": {"n": 1}}])
    with Memory(memory.path, embedder=memory._given, read_only=True) as reader:
        assert reader._passing.ids_of(condition_of({"n": 1})).tolist() == [1]
        memory.add([{"text": "another tale", "metadata": {"n": 1}}])
        assert reader._passing.ids_of(condition_of({"n": 1})).tolist() == [1, 2]
