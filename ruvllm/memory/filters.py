"""A filter as one SQL condition: what the user wrote travels as parameters only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ruvllm.types import Filter

__all__ = ["condition_of"]

COLUMNS = ("type", "source", "session")

IS_WANTED = "IN (SELECT value FROM json_each(?))"  # one parameter for any number of values
HAS_VALUE = (
    f"EXISTS (SELECT 1 FROM json_each(nodes.metadata) AS field WHERE field.key = ? AND (field.atom {IS_WANTED} OR "
    f"field.type = 'array' AND EXISTS (SELECT 1 FROM json_each(field.value) AS item WHERE item.atom {IS_WANTED})))"
)
HAS_NONE = "NOT EXISTS (SELECT 1 FROM json_each(nodes.metadata) AS field WHERE field.key = ? AND field.type <> 'null')"


def condition_of(filter: Filter) -> tuple[str, list[Any]]:
    """Return an SQL condition on `nodes` and its parameters; "1" when the filter is empty.

    A node passes when every field has the wanted value, or one of them where a list is given. Fields are type, source,
    session, and the keys of the metadata; a list in the metadata passes when any of its items does; None means missing.

    Raises:
        TypeError: the filter is not a mapping of str to values a JSON field can have.
    """
    if not isinstance(filter, Mapping):
        raise TypeError(f"filter must be a mapping of field to value, not {type(filter).__name__}")
    conditions, parameters = ["1"], list[Any]()
    for field, wanted in filter.items():
        if not isinstance(field, str):
            raise TypeError(f"filter: a field must be a str, not {type(field).__name__}")
        values = _values(field, wanted)
        some = json.dumps([value for value in values if value is not None], ensure_ascii=False)
        if field in COLUMNS:
            any_of = [f"nodes.{field} {IS_WANTED}"]
            parameters.append(some)
        else:
            any_of = [HAS_VALUE]
            parameters += [field, some, some]
        if None in values:
            any_of.append(f"nodes.{field} IS NULL" if field in COLUMNS else HAS_NONE)
            parameters += [] if field in COLUMNS else [field]
        conditions.append("(" + " OR ".join(any_of) + ")")
    return " AND ".join(conditions), parameters


def _values(field: str, wanted: Any) -> list[Any]:
    values = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    for value in values:
        if not (value is None or isinstance(value, str | int | float)):
            raise TypeError(f"filter: {field} must be a str, number, bool, None, or a list of them ({value!r})")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"filter: {field} must fit in 64 bits ({value})")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"filter: {field} must be finite ({value})")
    return [str(value) if isinstance(value, str) else value for value in values]
