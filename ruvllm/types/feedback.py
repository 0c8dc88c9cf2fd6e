"""What was said about an answer, or done after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ruvllm.types.checks import require_name, require_share

__all__ = ["Feedback", "SignalKind"]

SignalKind = Literal["rephrase", "abandon"]
"""What somebody did after an answer: asked again in other words, or did so and then went away."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user said about one answer; something must be said, the rest may be missing.

    `rating` 1..5; `quality` in [0, 1]; `rater` who says it; `marks` maps the node id of a shown source to whether it
    helped.
    """

    rating: int | None = None
    quality: float | None = None
    task_success: bool | None = None
    correction: str | None = None
    rater: str = "local"
    marks: Mapping[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rating is not None and (isinstance(self.rating, bool) or self.rating not in (1, 2, 3, 4, 5)):
            raise ValueError(f"rating must be a whole number from 1 to 5 ({self.rating!r})")
        if self.quality is not None:
            require_share(self.quality, "quality")
        if self.task_success is not None and not isinstance(self.task_success, bool):
            raise TypeError(f"task_success must be True or False ({self.task_success!r})")
        if self.correction is not None and not isinstance(self.correction, str):
            raise TypeError(f"correction must be a str, not {type(self.correction).__name__}")
        if self.correction is not None and not self.correction.strip():
            raise ValueError("correction must not be empty")
        require_name(self.rater, "rater")
        if not isinstance(self.marks, Mapping):
            raise TypeError(f"marks must be a mapping, not {type(self.marks).__name__}")
        for node, helped in self.marks.items():
            if isinstance(node, bool) or not isinstance(node, int) or not isinstance(helped, bool):
                raise TypeError(f"marks must map node ids to True or False ({node!r}: {helped!r})")
        said = (self.rating, self.quality, self.task_success, self.correction)
        if not self.marks and all(value is None for value in said):
            raise ValueError("feedback needs at least one of rating, quality, task_success, correction, marks")
