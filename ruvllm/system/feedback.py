"""What is said about answers, and why they are what they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ruvllm.memory.outcomes import Outcome
from ruvllm.memory.rejections import may_stand
from ruvllm.system.parts import Parts
from ruvllm.types import (
    Feedback,
    QualitySource,
)

if TYPE_CHECKING:
    from ruvllm.memory import Why

__all__ = ["Feeds"]


class Feeds(Parts):
    """Takes what is said about answers, and explains them."""

    def feedback(
        self,
        id: str,
        *,
        rating: int | None = None,
        quality: float | None = None,
        task_success: bool | None = None,
        correction: str | None = None,
        helped: Iterable[int] = (),
        unhelpful: Iterable[int] = (),
        rater: str = "local",
    ) -> None:
        """Say how good the answer `id` was; durable on return, and the same words twice count once.

        Args:
            rating: 1 to 5.
            quality: 0 to 1.
            task_success: whether the task the answer served succeeded.
            correction: the right answer; it becomes a fact that later questions find.
            helped, unhelpful: numbers of shown sources that did or did not help; worth more than any rating.
            rater: who says so; one rater can change only so much a day.

        Raises:
            TypeError, ValueError: nothing was said, a value is out of range, the answer showed no source of that
                number, or `id` is unknown.
        """
        said = Feedback(rating, quality, task_success, correction, rater, self._marks(id, helped, unhelpful))
        self.memory.feedback(id, said)
        self._metrics.heard(said)
        if not may_stand(said):
            self._say_not_again(id)
        self._news.heard()
        if self._router is not None:
            self._router.heard(id)

    def why(self, id: str | None = None) -> Why:
        """Return how an answer, the newest when no `id` is given, came about and what was learnt from it since.

        Raises:
            ValueError: the id is unknown, or nothing was answered yet.
        """
        return self.memory.why(id)

    def judge_outcome(self, id: str, tier: str, quality: float, *, source: QualitySource = "judge") -> bool:
        """Say how good the answer of one model was, also one that nobody saw; see `Memory.judge_outcome`."""
        counts = self.memory.judge_outcome(id, tier, quality, source=source)
        if Outcome(quality).is_good is False:
            self._say_not_again(id)
        if self._router is not None:
            self._router.heard(id)
        return counts

    def _say_not_again(self, id: str) -> None:
        """Let the question of an answer that is not a good one be answered anew."""
        cache = self._pipeline.cache
        if cache is not None and (record := self.memory.interaction(id)).query is not None:
            cache.drop(record.query, record.answer)

    def _marks(self, id: str, helped: Iterable[int], unhelpful: Iterable[int]) -> dict[int, bool]:
        """Return node id -> helped for numbers of the sources that the answer `id` showed."""
        numbers: dict[str, list[int]] = {}
        for name, given in (("helped", helped), ("unhelpful", unhelpful)):
            if not isinstance(given, Iterable):
                raise TypeError(f"{name} must be numbers of sources, not {type(given).__name__}")
            numbers[name] = list(given)
        if not any(numbers.values()):
            return {}
        shown = self.memory.interaction(id).source_ids
        marks: dict[int, bool] = {}
        for name, listed in numbers.items():
            for number in listed:
                if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(shown):
                    raise ValueError(f"{name}: of the sources of {id!r}, 1 to {len(shown)}, none is {number!r}")
                if marks.setdefault(shown[number - 1], name == "helped") != (name == "helped"):
                    raise ValueError(f"{name}: source {number} is in both helped and unhelpful")
        return marks
