"""A filter as one SQL condition: what the user wrote travels as parameters only."""

from __future__ import annotations

import difflib
import json
import math
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store
from ruvllm.types import Filter

__all__ = ["Condition", "PassingIds", "condition_of", "seconds_of"]

Condition = tuple[str, list[Any]]

TEXT_FIELDS = frozenset(("namespace", "type", "source", "session"))
TIME_FIELDS = frozenset(("created", "last_used"))
COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = ("eq", "ne", "in", "exists", *COMPARISONS)
MAX_DEPTH = 16  # of and, or, not within each other
MAX_CONDITIONS = 256  # SQLite takes expressions of depth 1000

VALUES = "(SELECT value FROM json_each(?))"  # one parameter for any number of values
# Of a list, or the one value, under a key that needs no escapes; items of an object have names as keys. Going by the
# path takes a quarter to a third less time than looking at every key.
ITEMS = "json_each(nodes.metadata, ?) AS item WHERE typeof(item.key) <> 'text'"
ITEMS_OF_ANY_KEY = (
    "json_each(nodes.metadata) AS field, json_each(CASE field.type WHEN 'array' THEN field.value WHEN 'object' "
    "THEN '[]' WHEN 'true' THEN '[true]' WHEN 'false' THEN '[false]' ELSE json_array(field.value) END) AS item "
    "WHERE field.key = ?"
)
HAS_KEY = "EXISTS (SELECT 1 FROM json_each(nodes.metadata) AS field WHERE field.key = ? AND field.type <> 'null')"

KEPT_RESULTS = 8


def condition_of(filter: Filter) -> Condition:
    """Return an SQL condition on `nodes` and its parameters; "1" when the filter is empty.

    See `ruvllm.types.Filter` for what a filter may say.

    Raises:
        TypeError, ValueError: the filter is not of that form; the message names the field and the closest operator.
    """
    return _Compiler().all_of(filter)


class _Compiler:
    """Counts the conditions of one filter, so that neither depth nor a filter within itself overflows anything."""

    def __init__(self) -> None:
        self._count = 0

    def all_of(self, filter: Filter, depth: int = 0) -> Condition:
        if not isinstance(filter, Mapping):
            raise TypeError(f"filter must be a mapping of field to value, not {type(filter).__name__}")
        if depth > MAX_DEPTH:
            raise ValueError(f"filter: and, or, not are nested more than {MAX_DEPTH} deep")
        return _joined(" AND ", [self._condition(field, wanted, depth) for field, wanted in filter.items()], "1")

    def _condition(self, field: Any, wanted: Any, depth: int) -> Condition:
        self._count += 1
        if self._count > MAX_CONDITIONS:
            raise ValueError(f"filter: more than {MAX_CONDITIONS} conditions; a list of values is one")
        if not isinstance(field, str):
            raise TypeError(f"filter: a field must be a str, not {type(field).__name__}")
        if field == "not":
            return _negated(self.all_of(wanted, depth + 1))
        if field in ("and", "or"):
            if not isinstance(wanted, list | tuple):
                raise TypeError(f"filter: {field} takes a list of filters, not {type(wanted).__name__}")
            parts = [self.all_of(one, depth + 1) for one in wanted]
            return _joined(f" {field.upper()} ", parts, "1" if field == "and" else "0")
        return _field_condition(_text(field, "filter: a field"), wanted)


def _field_condition(field: str, wanted: Any) -> Condition:
    if not isinstance(wanted, Mapping):
        return _is_any(field, _values(field, wanted))
    if not wanted:
        raise ValueError(f"filter: {field} names no operator ({', '.join(OPERATORS)})")
    parts = [_operation(field, name, operand) for name, operand in wanted.items() if name not in COMPARISONS]
    comparisons = {name: _compared(field, name, wanted[name]) for name in COMPARISONS if name in wanted}
    if comparisons:
        parts.append(_compares(field, comparisons))
    return _joined(" AND ", parts, "1")


def _operation(field: str, name: Any, operand: Any) -> Condition:
    match name:
        case "eq":
            return _is_any(field, [_value(field, operand)])
        case "ne":
            return _negated(_is_any(field, [_value(field, operand)]))
        case "in":
            if not isinstance(operand, list | tuple | set | frozenset):
                raise TypeError(f"filter: {field}: in takes a list of values, not {type(operand).__name__}")
            return _is_any(field, _values(field, operand))
        case "exists":
            if not isinstance(operand, bool):
                raise TypeError(f"filter: {field}: exists takes True or False ({operand!r})")
            return _exists(field) if operand else _negated(_exists(field))
    close = difflib.get_close_matches(str(name), OPERATORS, n=1, cutoff=0.3)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(OPERATORS)}"
    raise ValueError(f"filter: {field}: unknown operator {name!r}; {hint}")


# -- what one field must be ------------------------------------------------------------------------------------------


def _is_any(field: str, values: list[Any]) -> Condition:
    """Return the condition that a field has, or its list holds, one of `values`; None is a field that is missing."""
    some = json.dumps([value for value in values if value is not None], ensure_ascii=False)
    if field in TEXT_FIELDS | TIME_FIELDS:
        parts: list[Condition] = [(f"nodes.{field} IN {VALUES}", [some])]
    else:
        parts = [_any_item(field, f"item.atom IN {VALUES}", [some])]
    return _joined(" OR ", [*parts, _negated(_exists(field))] if None in values else parts, "0")


def _compares(field: str, comparisons: Mapping[str, Any]) -> Condition:
    """Return the condition that a field, or one item of its list, passes all comparisons (operator -> value)."""
    values = list(comparisons.values())
    what = f"nodes.{field}" if field in TEXT_FIELDS | TIME_FIELDS else "item.atom"
    sql = " AND ".join(f"{what} {COMPARISONS[name]} ?" for name in comparisons)
    if what != "item.atom":
        return sql, values
    kinds = {"'text'" if isinstance(value, str) else "'integer', 'real'" for value in values}
    if len(kinds) > 1:
        raise TypeError(f"filter: {field} is compared both with numbers and with strings ({values})")
    return _any_item(field, f"item.type IN ({kinds.pop()}) AND {sql}", values)


def _exists(field: str) -> Condition:
    if field in TEXT_FIELDS | TIME_FIELDS:
        return f"nodes.{field} IS NOT NULL", []
    if _is_plain(field):
        return "json_type(nodes.metadata, ?) <> 'null'", [_path(field)]
    return HAS_KEY, [field]


def _any_item(field: str, condition: str, parameters: list[Any]) -> Condition:
    if _is_plain(field):
        return f"EXISTS (SELECT 1 FROM {ITEMS} AND {condition})", [_path(field), *parameters]
    return f"EXISTS (SELECT 1 FROM {ITEMS_OF_ANY_KEY} AND {condition})", [field, *parameters]


def _is_plain(key: str) -> bool:
    """Return whether a key stands in JSON as it is; older SQLite finds no others by a path."""
    return json.dumps(key, ensure_ascii=False) == f'"{key}"'


def _path(key: str) -> str:
    return f'$."{key}"'


def _joined(word: str, parts: list[Condition], empty: str) -> Condition:
    if not parts:
        return empty, []
    sql = word.join(sql for sql, _ in parts)
    return f"({sql})" if len(parts) > 1 else sql, [value for _, values in parts for value in values]


def _negated(condition: Condition) -> Condition:
    return f"({condition[0]}) IS NOT TRUE", condition[1]  # NULL, of a field that is missing, becomes true as well


# -- values ----------------------------------------------------------------------------------------------------------


def _values(field: str, wanted: Any) -> list[Any]:
    return [_value(field, one) for one in (wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted])]


def _value(field: str, value: Any) -> Any:
    """Return a value as SQLite is to see it: a plain str, a number that fits, seconds for a time, or None."""
    if value is None:
        return None
    if field in TIME_FIELDS:
        return seconds_of(value, f"filter: {field}")
    if not isinstance(value, str | int | float):
        raise TypeError(f"filter: {field} must be a str, number, bool, None, or a list of them ({value!r})")
    if field in TEXT_FIELDS and not isinstance(value, str):
        raise TypeError(f"filter: {field} must be a str, not {type(value).__name__} ({value!r})")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"filter: {field} must fit in 64 bits ({value})")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"filter: {field} must be finite ({value})")
    if not isinstance(value, str):
        return value
    return _text(value, f"filter: {field}")


def _text(value: str, name: str) -> str:
    """Return a plain str that SQLite can take, else raise ValueError; the message starts with `name`."""
    try:
        return value.encode().decode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not valid text ({value!r})") from error


def _compared(field: str, name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        raise TypeError(f"filter: {field}: {name} compares with a number or a str, not {value!r}")
    return _value(field, value)


def seconds_of(value: Any, name: str) -> float:
    """Return seconds since the epoch of a number of them or an ISO-8601 str, which is UTC unless it says otherwise.

    Raises:
        TypeError, ValueError: it is neither; the message starts with `name`.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} must be seconds or an ISO-8601 time ({value!r})") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds or an ISO-8601 time ({value!r})")
    if not math.isfinite(value) or abs(value) > 2**63:
        raise ValueError(f"{name} must be finite seconds since 1970 ({value})")
    return float(value)


class PassingIds:
    """The searched nodes that filters let through; the last few answers are kept until searched nodes change.

    Of 100,000 nodes a filter on a metadata key takes about 100 ms, half of it reading JSON; one that is kept 0.2 ms.
    """

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._lock = threading.Lock()
        self._changes = 0
        self._kept: dict[tuple[str, tuple[Any, ...]], tuple[tuple[int, int], np.ndarray]] = {}  # the oldest first

    def changed(self) -> None:
        """Hear that nodes were added, changed or removed; counts of uses are none of that."""
        with self._lock:
            self._changes += 1

    def ids_of(self, condition: tuple[str, Iterable[Any]]) -> np.ndarray:
        """Return the ids, (m,) int64, that pass a condition of `condition_of`; not to be written to."""
        key = (condition[0], tuple(condition[1]))
        # any commit may be another process's, or a count of uses, which moves last_used
        sees_all = self._store.read_only or "nodes.last_used" in key[0]
        version = self._changes, self._store.version() if sees_all else 0
        with self._lock:
            known = self._kept.pop(key, None)
            if known is not None and known[0] == version:
                self._kept[key] = known
                return known[1]
        sql = f"SELECT id FROM nodes WHERE namespace = ? AND {SEARCHED} AND {key[0]}"
        ids = np.array([row[0] for row in self._store.rows(sql, (self._namespace, *key[1]))], np.int64)
        with self._lock:
            self._kept[key] = (version, ids)
            while len(self._kept) > KEPT_RESULTS:
                self._kept.pop(next(iter(self._kept)))
        return ids
