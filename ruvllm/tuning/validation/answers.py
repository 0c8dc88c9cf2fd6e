"""What an answer to a holdout item is worth: right, in the form that was asked for, a refusal."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from ruvllm.errors import EngineError
from ruvllm.inference.engine import Engine, complete
from ruvllm.text import normalized_tokens, token_f1
from ruvllm.tuning.validation.holdout import HoldoutItem
from ruvllm.types import GenerationOptions

__all__ = ["Answer", "answer", "f1", "is_refusal", "is_right", "is_well_formed"]

LOOP_WORDS, LOOP_TIMES = 8, 4  # so many words that end an answer so many times over
REFUSAL_WITHIN = 200  # characters: who refuses says so at once
REFUSAL = re.compile(
    r"""\b(?:
        i\s?(?:'m|\sam)\s(?:sorry|afraid|unable|not\s(?:sure|able))
        | i\s(?:do\snot|don't|cannot|can't|can\snot|could\snot|couldn't)
          \s(?:know|find|answer|help|assist|provide|tell|say)
        | as\san\sai\b
        | unable\sto\s(?:answer|help|assist|find|provide)
        | (?:no|not\senough|insufficient)\s(?:information|context|evidence)
        | (?:is|are|was)\s(?:not|n't)\s(?:mentioned|stated|specified|given|provided|known)
        | cannot\sbe\s(?:answered|determined)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to an item. `is_whole` is False where the answer was cut off."""

    text: str
    latency_ms: float
    is_whole: bool = True
    has_failed: bool = False


def answer(engine: Engine, item: HoldoutItem, options: GenerationOptions) -> Answer:
    """Return the answer of `engine`; a failure, as a prompt beyond its context is one, is an empty answer."""
    started = time.perf_counter()
    fits = engine.count_tokens(item.messages) + options.max_new_tokens <= engine.context_tokens
    try:
        done = complete(engine, item.messages, options) if fits else None
    except EngineError:
        done = None
    latency_ms = 1e3 * (time.perf_counter() - started)
    if done is None:
        return Answer("", latency_ms, is_whole=False, has_failed=True)
    return Answer(done.text, latency_ms, is_whole=done.finish_reason != "length")


def is_right(item: HoldoutItem, text: str) -> bool:
    """Return whether `text` is an accepted answer, case, punctuation and articles aside; with choices: names it, and no
    other. Where a refusal is accepted, any other refusal is right, too."""
    if item.choices:
        return _named(item, text) in ({one} for one in item.answers)
    refuses = is_refusal(text)
    return any(_is_same(text, one) or (refuses and is_refusal(one)) for one in item.answers)


def f1(item: HoldoutItem, text: str) -> float:
    """Return the token F1 with the nearest accepted answer; 1 or 0 with one that has no words, such as "A" or "+"."""
    return max(token_f1(text, one) if normalized_tokens(one) else float(_is_same(text, one)) for one in item.answers)


def is_refusal(text: str) -> bool:
    """Return whether `text` begins by declining to answer (English)."""
    return REFUSAL.search(text.replace("’", "'")[:REFUSAL_WITHIN]) is not None


def is_well_formed(item: HoldoutItem, given: Answer) -> bool:
    """Return whether an answer came to its end, says something, does not loop, and names one choice where there are."""
    words = given.text.split()
    if not words or not given.is_whole or _loops(words):
        return False
    return not item.choices or len(_named(item, given.text)) == 1


def _named(item: HoldoutItem, text: str) -> set[str]:
    """Return the choices that `text` names; one within another that is named is none of its own."""
    plain = text.strip().rstrip(".").casefold()
    if exact := {choice for choice in item.choices if choice.casefold() == plain}:
        return exact
    named = {choice for choice in item.choices if _holds(text, choice)}
    return {one for one in named if not any(one != other and _holds(other, one) for other in named)}


def _is_same(text: str, wanted: str) -> bool:
    if words := normalized_tokens(wanted):
        return normalized_tokens(text) == words
    plain = wanted.strip().casefold()  # an article or a mark alone: an answer that says nothing is none
    return text.strip().casefold() in (plain, f"{plain}.")


def _holds(text: str, wanted: str) -> bool:
    words, sought = normalized_tokens(text), normalized_tokens(wanted)
    if not sought:  # "A" among letters: as it is written, since "a" is an article
        mark = wanted.strip()
        return bool(mark) and re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", text) is not None
    return any(words[i : i + len(sought)] == sought for i in range(len(words) - len(sought) + 1))


def _loops(words: list[str]) -> bool:
    sizes = range(1, min(LOOP_WORDS, len(words) // LOOP_TIMES) + 1)
    return any(words[-n * LOOP_TIMES :] == words[-n:] * LOOP_TIMES for n in sizes)
