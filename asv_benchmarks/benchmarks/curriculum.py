"""A curriculum of many traces: filters, near-duplicates, decontamination, weights, pairs."""

from __future__ import annotations

from ruvllm.tuning import CurriculumBuilder, Tag, Trace
from ruvllm.types import Message

from .writes import texts


class BuildCurriculum:
    """Corrected answers with prompts of 200 words, a tenth of them repetitions, beside a holdout of 1 000 texts."""

    params = (500, 5_000)
    param_names = ("traces",)

    def setup(self, n: int) -> None:
        questions, prompts = texts(n, seed=0, words=12), texts(n, seed=1, words=200)
        repeated = questions[: n // 10]
        self.holdout = texts(1_000, seed=2, words=12)
        self.traces = [
            Trace(
                id=f"a{i}",
                query=question,
                response="Nobody knows.",
                prompt=(Message("user", f"{prompt}\n\n{question}"),),
                correction=question[::-1],
                standing="corrected",
                outcome="failure",
                quality=0.0,
                created=float(i),
                tags={"difficulty": Tag(i / n, "asv")},
            )
            for i, (question, prompt) in enumerate(zip(repeated + questions[: n - len(repeated)], prompts, strict=True))
        ]

    def time_build(self, n: int) -> None:
        CurriculumBuilder().build(self.traces, holdout=self.holdout)

    def track_left_out(self, n: int) -> float:
        card = CurriculumBuilder().build(self.traces, holdout=self.holdout).card
        return card.left_out["repeats another"] / n

    track_left_out.unit = "fraction"  # type: ignore[attr-defined]
