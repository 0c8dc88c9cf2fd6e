"""How many tokens a text has, by adding up those of its words, where a tokenizer looks at each by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WordCounts", "splits_at_punctuation"]

MAX_WORDS = 131_072  # kept, about 20 MB; then they are counted anew
MAX_CHARS = 64  # of a word that is kept

_PART = re.compile(r"[^ \n!-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]")  # a run without ASCII's punctuation, or one of that


def splits_at_punctuation(tokenizer: Tokenizer) -> bool:
    """Return whether the tokens of a text are those of the parts between spaces and punctuation, as BERT's are."""
    from tokenizers import models, normalizers, pre_tokenizers

    return (
        isinstance(tokenizer.normalizer, normalizers.BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and isinstance(tokenizer.model, models.WordPiece)
    )


class WordCounts(dict[str, int]):
    """Word -> tokens, counted when it is first asked for: text repeats its words, and a tokenizer is slow at any.

    Args:
        tokenizer: one that `splits_at_punctuation`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]  # as [SEP]

    def __missing__(self, word: str) -> int:
        count = self._count(word)
        if len(word) <= MAX_CHARS:
            if len(self) >= MAX_WORDS:
                self.clear()
            self[word] = count
        return count

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def of(self, text: str) -> int:
        """Return how many tokens a text has, without special tokens."""
        if any(token in text for token in self._added):
            return self._count(text)
        return sum(map(self.__getitem__, _PART.findall(text)))
