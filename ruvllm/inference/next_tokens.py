"""What a model says after a prompt, token by token; where it repeats itself or its sources, several a pass."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt

from ruvllm.inference.constrained import TokenConstraint
from ruvllm.inference.shared_steps import SharedSteps
from ruvllm.kernels import RuntimeSampler, RuntimeSession

__all__ = ["DRAFT_TOKENS", "draft", "next_tokens"]

Ids = npt.NDArray[np.int32]

PREFILL_TOKENS = 256  # of a prompt between two looks at whether it is cancelled
DRAFT_TOKENS = 7  # a pass of eight costs 1.4 to 1.7 passes of one, and a convolution state can be cut back as far


def draft(tokens: Ids, most: int) -> Ids:
    """Return at most `most` tokens that may come next: what followed where the last three, else two, stood before.

    Of several such places the latest counts. Where the last two tokens are new, nothing is returned.

    Args:
        tokens: (n,), n >= 1: prompt and answer so far.

    Source: prompt lookup (Saxena 2023), the draft without a model, for Leviathan et al. 2023 (arXiv:2211.17192).
    """
    after = np.arange(1, len(tokens))  # where a token follows
    for back in (1, 2, 3):
        found = after[after >= back]
        found = found[tokens[found - back] == tokens[-back]] if len(tokens) > back else found[:0]
        if back == 3 and not len(found):
            break
        after = found
    return tokens[after[-1] : after[-1] + most] if len(after) else tokens[:0]


def next_tokens(
    steps: SharedSteps,
    session: RuntimeSession,
    prompt: Ids,
    sampler: RuntimeSampler,
    *,
    max_tokens: int,
    constraint: TokenConstraint | None,
    draft_tokens: int,
    is_over: Callable[[], bool],
) -> Generator[tuple[int, float]]:
    """Yield up to `max_tokens` tokens after the prompt, each with its log-probability; fewer once `is_over` says so.

    Each token is sampled from the logits after all before it, in their order, so that guesses change nothing but how
    many passes it takes. In the end the session holds the prompt and what was yielded, or all but the last of it.

    Args:
        session: a beginning of `prompt`, but not all of it.
        constraint: whoever takes a token must tell it before taking the next; then nothing is guessed.
        draft_tokens: guessed for one pass, at most.
    """
    said, n = np.concatenate([prompt, np.empty(max_tokens, np.int32)]), len(prompt)
    most = 0 if constraint is not None else draft_tokens

    def sample() -> tuple[int, float]:
        allowed = None if constraint is None else constraint.mask()
        return sampler.next(session, seen_from=len(prompt), allowed=allowed)

    try:
        for first in range(session.length, len(prompt), PREFILL_TOKENS):
            if is_over():
                return
            steps.advance(session, prompt[first : first + PREFILL_TOKENS])
        token = sample()
        while True:
            yield token
            said[n], n = token[0], n + 1
            if n == len(said) or is_over():
                return
            guesses = draft(said[:n], min(most, len(said) - n - 1))
            logits = steps.advance(session, np.append(said[n - 1 : n], guesses), tail=len(guesses) + 1)
            for row, guess in zip(logits[:-1], guesses, strict=True):
                token = sampler.choose(row, said[len(prompt) : n])
                if token[0] != guess:
                    session.cut(n)
                    break
                yield token
                said[n], n = guess, n + 1
                if is_over():
                    return
            else:
                token = sample()
    finally:
        session.cut(n)
