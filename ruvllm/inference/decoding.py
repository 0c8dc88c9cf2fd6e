"""Token ids to text as they arrive, never breaking a character that spans tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TokenDecoder"]

_REPLACEMENT = "\ufffd"  # what a tokenizer shows for bytes that are not (yet) a character


class TokenDecoder:
    """Decodes one stream; special tokens are skipped.

    The last shown tokens are decoded again together with the new ones, so that decoders which look at the left
    neighbour (a leading space, for instance) behave as they do on the whole text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # shown already, the left neighbour of what is pending
        self._pending: list[int] = []  # not shown: may end inside a character

    def push(self, token_id: int) -> str:
        """Return the text that `token_id` completes; "" while a character is incomplete."""
        self._pending.append(token_id)
        text = self._pending_text()
        if not text or text.endswith(_REPLACEMENT):
            return ""
        self._context, self._pending = self._pending, []
        return text

    def finish(self) -> str:
        """Return what is left at the end of the stream, without an incomplete last character."""
        text = self._pending_text().rstrip(_REPLACEMENT)
        self._pending = []
        return text

    def _pending_text(self) -> str:
        shown = self._decode(self._context)
        return self._decode(self._context + self._pending)[len(shown) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""
