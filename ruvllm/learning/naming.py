"""What a passage is about, in a few of its own words: a model chooses among the phrases that stand in it."""

from __future__ import annotations

import json
import re

from ruvllm.inference.engine import Engine, complete
from ruvllm.learning.worker import MustStop
from ruvllm.memory.names import name_of
from ruvllm.text import STOP_WORDS
from ruvllm.types import GenerationOptions, Message

__all__ = ["NAMING_VERSION", "names_in", "phrases_of"]

NAMING_VERSION = 1
"""Of the question below and of what may be answered: passages are read again when it changes."""

SHOWN_CHARS = 1600  # of a passage
MAX_WORDS = 4  # of a phrase
MAX_PHRASES = 512  # that are offered: the grammar of so many takes some 50 ms
SYSTEM = "You name what a text is about. You copy the names from the text."
QUESTION = (
    "Which people, places, works, organisations or topics is this text about? "
    "Answer with a few names that stand in the text."
)

_WORD = re.compile(r"\w[\w'’\-]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')  # of JSON


def phrases_of(text: str) -> list[str]:
    """Return what a passage can be said to be about, each once, in its order: runs of words with nothing but a space
    between them, not beginning or ending with a stop word, that can be a name."""
    words = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    found: dict[str, None] = {}
    for first, (start, _) in enumerate(words):
        for last in range(first, min(first + MAX_WORDS, len(words))):
            if last > first and text[words[last - 1][1] : words[last][0]] != " ":
                break
            phrase = text[start : words[last][1]]
            ends = {_WORD.findall(phrase.lower())[i] for i in (0, -1)}
            if not ends & STOP_WORDS and name_of(phrase) is not None:
                found[phrase] = None
    return list(found)[:MAX_PHRASES]


def names_in(
    engine: Engine, text: str, *, max_names: int, max_new_tokens: int, must_stop: MustStop = lambda: False
) -> list[str] | None:
    """Return at most `max_names` names that a model gives a passage, as they stand in it; None when it was stopped.

    The model cannot say anything else: each name is one of the passage's phrases by the grammar that decoding keeps to.
    What an engine says beyond it is left out all the same.

    Raises:
        ValueError: the engine cannot keep to a schema, or the extra `constrained` is not installed.
        EngineError: the model failed.
    """
    while True:
        text = text[:SHOWN_CHARS]
        messages = [Message("system", SYSTEM), Message("user", f"Text:\n{text}\n\n{QUESTION}")]
        if engine.count_tokens(messages) + max_new_tokens <= engine.context_tokens:
            break
        if not text:
            return []
        text = text[: len(text) // 2]
    phrases = phrases_of(text)
    if not phrases:
        return []
    schema = {"type": "array", "items": {"enum": phrases}, "minItems": 1, "maxItems": max_names}
    options = GenerationOptions(max_new_tokens=max_new_tokens, temperature=0.0, json_schema=schema)
    done = complete(engine, messages, options, cancelled=must_stop)
    if done.finish_reason == "cancelled" or must_stop():
        return None
    said = [json.loads(string) for string in _STRING.findall(done.text)]  # whole ones of a cut answer
    offered = set(phrases)
    return [name for name in dict.fromkeys(said) if name in offered][:max_names]
