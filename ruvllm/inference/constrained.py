"""Which tokens may come next, so that the text fits a JSON schema or a pattern: by llguidance (extra `constrained`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from llguidance._lib import JsonCompileOptions
    from tokenizers import Tokenizer

__all__ = ["Constraints", "TokenConstraint"]

# Whitespace as json.dumps writes it: where it is free, a small model may write spaces for ever.
_JSON_STYLE: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class TokenConstraint(Protocol):
    """What one generation may say: take a mask, choose a token of it, accept that; until an end token or finished."""

    def mask(self) -> npt.NDArray[np.bool_]:
        """Return (vocab_size,): which token ids may come next. Where the text may end, the end tokens are among them.

        Raises:
            ValueError: the grammar has become too large to follow, or a token was accepted against the mask.
        """
        ...

    def accept(self, token_id: int) -> None:
        """Go on from `token_id`.

        Raises:
            ValueError: it may not come here.
        """
        ...

    @property
    def is_finished(self) -> bool:
        """Whether nothing can follow: an end token was accepted, or the text is complete and only that is left."""
        ...


class Constraints:
    """Makes the constraints of one model's generations. Safe to share between threads; the constraints are not.

    Takes 0.5 s and 20 MB for 49,000 tokens; a constraint then takes 2 ms, a mask mostly 0.03 ms.

    Args:
        tokenizer: the model's own.
        vocab_size: the model's number of logits; ids that the tokenizer does not know are never allowed.
        end_ids: tokens that end a turn.

    Raises:
        ValueError: the extra is not installed, or llguidance does not know this kind of tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer, *, vocab_size: int, end_ids: Iterable[int]) -> None:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise ValueError("json_schema needs llguidance: pip install 'ruvllm[constrained]'") from error
        self._vocab_size = vocab_size
        self._end_ids = sorted(end_ids)
        self._tokenizer = LLTokenizer(tokenizer.to_str(), n_vocab=vocab_size, eos_token=self._end_ids)

    def json_schema(self, schema: Mapping[str, Any]) -> TokenConstraint:
        """Return a constraint to the values of a JSON schema (draft 2020-12), with the whitespace of json.dumps.

        A text that is cut off by max_new_tokens is not whole: bound strings (maxLength) and arrays (maxItems). Integers
        of the schema beyond 2**53 are rounded.

        Raises:
            ValueError: the schema is wrong, allows nothing, or uses a keyword that cannot be enforced.
        """
        from llguidance import LLMatcher

        try:
            text = json.dumps(dict(schema))
        except (TypeError, ValueError) as error:
            raise ValueError(f"json_schema is not JSON: {error}") from error
        return self._start("json_schema", LLMatcher.grammar_from_json_schema(text, defaults=_JSON_STYLE))

    def regex(self, pattern: str) -> TokenConstraint:
        """Return a constraint to texts that match `pattern` as a whole (the syntax of Rust's regex).

        Raises:
            ValueError: the pattern is wrong or matches nothing.
        """
        from llguidance import LLMatcher

        return self._start("regex", LLMatcher.grammar_from_regex(pattern))

    def _start(self, argument: str, grammar: str) -> TokenConstraint:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)  # it reports by is_error, never by raising
        constraint = _GrammarConstraint(matcher, argument, self._vocab_size, frozenset(self._end_ids))
        constraint.require_sound()
        return constraint


class _GrammarConstraint:
    def __init__(self, matcher: LLMatcher, argument: str, vocab_size: int, end_ids: frozenset[int]) -> None:
        self._matcher = matcher
        self._argument = argument
        self._vocab_size = vocab_size
        self._end_ids = end_ids

    def mask(self) -> npt.NDArray[np.bool_]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self.require_sound()
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)

    def accept(self, token_id: int) -> None:
        is_end = token_id in self._end_ids
        if is_end and self.is_finished:
            return
        may_come = self._matcher.is_accepting() if is_end else 0 <= token_id < self._vocab_size
        if not (may_come and self._matcher.consume_token(token_id)):
            raise ValueError(f"token_id {token_id} may not come here")

    @property
    def is_finished(self) -> bool:
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def require_sound(self) -> None:
        if self._matcher.is_error():
            reason = " ".join(self._matcher.get_error().partition("<state>")[0].split())
            raise ValueError(f"{self._argument}: {reason}")
