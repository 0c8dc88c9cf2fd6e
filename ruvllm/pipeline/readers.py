"""What a reader can take: how many sources and sentences, how long a prompt, what of it."""

from __future__ import annotations

from collections.abc import Sequence

from ruvllm.inference import Engine
from ruvllm.inference.open import is_remote
from ruvllm.pipeline.asking import Asking, Reader
from ruvllm.types import GenerationOptions, Hit, Message, Turn

__all__ = ["SMALL_READER_SENTENCES", "default_context", "is_kept_private", "is_small", "no_tokens", "shown_to"]

SMALL_READER = 300e6  # parameters; below, a reader is confused by more than
SMALL_READER_SENTENCES = 3
CONTEXT_BINS = (512, 1024, 2048)  # prompt tokens


def is_small(engine: Engine | None) -> bool:
    """Return whether this reader does better with a few sentences than with whole passages."""
    return engine is not None and engine.parameters is not None and engine.parameters < SMALL_READER


def default_context(
    query: str, engine: Engine | None, options: GenerationOptions, configured: int, *, chosen: int = 0
) -> int:
    """Return how many prompt tokens to use: the configured number, else the `chosen` one, else the reader's bin.

    A long question moves to the first bin of which it takes less than half, so that room for sources is left; it stands
    before and after them.
    """
    if engine is None:
        return configured or CONTEXT_BINS[-1]
    window = engine.context_tokens - options.max_new_tokens
    if window <= 0:
        raise ValueError(
            f"max_new_tokens must be below the model's {engine.context_tokens} tokens of context "
            f"({options.max_new_tokens})"
        )
    if configured:
        return min(configured, window)
    if chosen:
        bins = (chosen, *(b for b in CONTEXT_BINS if b > chosen))
    else:
        bins = CONTEXT_BINS if is_small(engine) else CONTEXT_BINS[-1:]
    question = engine.count_tokens([Message("user", query)])
    return min(next((b for b in bins if 4 * question < b), window), window)


def is_kept_private(reader: Reader, asking: Asking) -> bool:
    """Return whether no endpoint may be shown question and answer later; one that answers is shown nothing private."""
    return asking.is_private and not is_remote(reader.tier)


def shown_to(reader: Reader, asking: Asking) -> tuple[Sequence[Hit], Sequence[Turn]]:
    """Return the hits and turns that a reader may be shown; what is private is kept from an endpoint, and that said."""
    if not (is_remote(reader.tier) and asking.is_private):
        return asking.hits, asking.turns
    hits = [hit for hit in asking.hits if not hit.node.is_private]
    turns = [turn for turn in asking.turns if not turn.is_private]
    hidden = len(asking.hits) - len(hits) + len(asking.turns) - len(turns)
    asking.note("prompt", f"{hidden} private turns and sources were kept from the endpoint")
    return hits, turns


def no_tokens(messages: object) -> int:
    """Return 0: without a model there is no budget to keep."""
    return 0
