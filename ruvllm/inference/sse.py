"""Reading an OpenAI-compatible answer: server-sent events, and the JSON inside them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ruvllm.types import FinishReason

__all__ = ["Chunk", "Usage", "parse_chunk", "parse_completion", "read_events", "read_whole"]

_MAX_LINE_BYTES = 1 << 20
_MAX_TOKENS = 1 << 31
_MAX_WHOLE_BYTES = 1 << 24  # log-probabilities take some hundred bytes a token


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the endpoint counted them; None where it did not say."""

    prompt_tokens: int
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event's contribution to the answer."""

    text: str
    logprobs: tuple[float, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


def read_events(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each event, as the pieces of the body arrive; an event is one `data:` line.

    Raises:
        ValueError: a line is longer than 1 MiB, is not UTF-8, or is no field of an event stream.
    """
    for line in _lines(blocks):
        name, colon, value = line.decode("utf-8").partition(":")
        if not line or (colon and not name):  # end of an event; comment
            continue
        if name not in ("data", "event", "id", "retry"):
            raise ValueError(f"expected an event stream, got {line[:80].decode('utf-8', 'replace')!r}")
        if name == "data":
            yield value.strip()


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > _MAX_LINE_BYTES:
            raise ValueError(f"a line is longer than {_MAX_LINE_BYTES} bytes")
    if rest:
        yield rest.rstrip(b"\r")


def read_whole(blocks: Iterable[bytes]) -> str:
    """Return a body that is one document.

    Raises:
        ValueError: it is longer than 16 MiB, or not UTF-8.
    """
    whole = bytearray()
    for block in blocks:
        whole += block
        if len(whole) > _MAX_WHOLE_BYTES:
            raise ValueError(f"it is longer than {_MAX_WHOLE_BYTES} bytes")
    return whole.decode("utf-8")


def parse_chunk(data: str) -> Chunk:
    """Return one event of a streamed completion.

    Raises:
        ValueError: it is not such an event, or it carries an error.
    """
    return _parse(data, "delta")


def parse_completion(data: str) -> Chunk:
    """Return a whole completion that was not streamed.

    Raises:
        ValueError: it is not a completion, or it carries an error.
    """
    chunk = _parse(data, "message")
    if chunk.finish_reason is None:
        raise ValueError("field 'finish_reason' is missing")
    return chunk


def _parse(data: str, holder: str) -> Chunk:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {data[:80]!r}") from error
    _require(isinstance(event, dict), "not a JSON object")
    if event.get("error"):
        raise ValueError(f"error: {str(event['error'])[:300]}")
    _require(isinstance(event.get("choices"), list), "field 'choices' is missing")
    usage = _usage(event.get("usage"))
    if not event["choices"]:  # the closing event that carries only the usage
        return Chunk("", usage=usage)
    choice = event["choices"][0]
    _require(isinstance(choice, dict) and isinstance(choice.get(holder), dict), f"field '{holder}' is missing")
    text = choice[holder].get("content") or ""
    _require(isinstance(text, str), f"'{holder}.content' is not text")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of a pair that JSON let through
    return Chunk(text, _logprobs(choice.get("logprobs")), _finish_reason(choice.get("finish_reason")), usage)


def _logprobs(value: Any) -> tuple[float, ...]:
    """Return {"content": [{"logprob": x}, ...]} as numbers; servers that cannot say send null or nothing."""
    entries = value.get("content") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return ()
    numbers = [entry.get("logprob") if isinstance(entry, dict) else None for entry in entries]
    _require(all(map(_is_logprob, numbers)), "'logprobs' holds what is no log-probability")
    return tuple(min(0.0, float(x)) for x in numbers if x is not None)


def _is_logprob(x: Any) -> bool:
    is_number = isinstance(x, int | float) and not isinstance(x, bool)
    return is_number and (x == -math.inf or -sys.float_info.max <= x <= 1e-3)  # rounding may lift it past 0


def _usage(value: Any) -> Usage | None:
    """Return what the endpoint counted; numbers that count no tokens were not said."""
    if not isinstance(value, dict) or not _is_count(value.get("prompt_tokens")):
        return None
    completion = value.get("completion_tokens")
    return Usage(value["prompt_tokens"], completion if _is_count(completion) else None)


def _is_count(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and 0 <= x <= _MAX_TOKENS


def _finish_reason(value: Any) -> FinishReason | None:
    """Return "length" as such, and every other way to end ("stop", "content_filter", ...) as "stop"."""
    if value is None:
        return None
    return "length" if value == "length" else "stop"


def _require(statement: bool, message: str) -> None:
    if not statement:
        raise ValueError(message)
