"""Feedback for `ruvllm bench retrieval --feedback`: JSON Lines of {id, rating?, good_pids?}, or of questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ruvllm.bench.corpora import read_rows

__all__ = ["Said", "read_feedback"]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said about the answer to one question: a rating in [0, 1], or the sources that were right."""

    rating: float | None
    good_pids: frozenset[str]

    @property
    def is_good(self) -> bool:
        """Whether the answer as a whole was liked."""
        return self.rating is not None and self.rating >= 0.5


def read_feedback(path: Path) -> dict[str, Said]:
    """Return what was said, by question id; of a question file the gold passages are the good ones.

    Raises:
        ValueError: a line is damaged, or a rating is not in [0, 1].
    """
    said = {}
    for row in read_rows(path, ("id",)):
        rating = row.get("rating")
        if rating is not None and not 0.0 <= rating <= 1.0:
            raise ValueError(f"{path}: rating of {row['id']!r} must be in [0, 1] ({rating!r})")
        good = row.get("good_pids") or row.get("gold_pids") or ()
        said[str(row["id"])] = Said(rating, frozenset(map(str, good)))
    return said
