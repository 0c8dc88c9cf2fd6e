"""How good an answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ruvllm.inference import complete
from ruvllm.inference.open import is_remote
from ruvllm.judging import Answered, Judgement
from ruvllm.memory.arguments import checked_texts
from ruvllm.memory.rows import checked_text
from ruvllm.system.parts import Parts, never
from ruvllm.types import (
    GenerationOptions,
    Message,
    Source,
)

if TYPE_CHECKING:
    from ruvllm.learning.judge import BrainJudge, JudgeReport

__all__ = ["Judges"]


class Judges(Parts):
    """Judges answers, and is calibrated by ratings."""

    def judge(
        self,
        question: str,
        answer: str,
        *,
        sources: Sequence[str] | None = None,
        consistency: bool = False,
    ) -> Judgement:
        """Return how good an answer is, in [0, 1], who says so, and the signals that this was made of.

        An endpoint that judges is not asked where something private is found, and one that answers is not shown it.

        Args:
            sources: texts that it should rest on; what `retrieve` finds for the question when None.
            consistency: let the model answer `judge.samples` times more, and count how far the answers agree.

        Raises:
            TypeError, ValueError: the question or a source is empty, the question too long, a text not valid, or the
                judge is switched off. An answer may be empty.
            ModelMissing, PullError: there is no model to answer again.
        """
        judge = self._judging()
        limit = self.config.store.max_query_chars
        if len(checked_text(question, "question")) > limit:
            raise ValueError(f"question is too long ({len(question)} characters, at most {limit})")
        checked_text(answer if answer != "" else "-", "answer")
        given = None if sources is None else checked_texts(sources, "sources")
        vector = self.memory.encode([question])[0]
        private: set[int] = set()
        if given is None:
            hits = self.memory.search(question, self.config.retrieval.k, query_vector=vector)
            shown = tuple(_source(i, hit.node.text, hit.node.id) for i, hit in enumerate(hits, 1))
            private = {hit.node.id for hit in hits if hit.node.is_private}
        else:
            shown = tuple(_source(i, text) for i, text in enumerate(given, 1))
        answered = Answered(question, vector, answer, shown, (), "stop", is_private=bool(private))
        if not consistency:
            return judge.judge(answered)
        from ruvllm.learning.judge import agreement_of

        hidden = private if is_remote(self.config.generation.model) else set()
        read = [source for source in shown if source.node_id not in hidden]
        return judge.with_agreement(answered, agreement_of(answer, self._samples(question, read)))

    def _samples(self, question: str, sources: Sequence[Source]) -> list[str]:
        """Return answers of the default model to a question and its sources, each drawn anew."""
        text = "\n".join(source.text for source in sources)
        messages = [Message("user", f"{text}\n\n{question}".strip())]
        limit = self.config.generation.max_new_tokens
        with self.pool.engine() as engine:
            return [
                complete(engine, messages, GenerationOptions(max_new_tokens=limit, temperature=0.7, seed=seed)).text
                for seed in range(self.config.judge.samples)
            ]

    def train_judge(self, *, cancelled: Callable[[], bool] = never) -> JudgeReport:
        """Calibrate the judge by the ratings of this brain; durable on return.

        What predicts held-out ratings no better than the uncalibrated judge is discarded, and the report says so; where
        no rating is new since the version in force, nothing is tried.

        Raises:
            ValueError: the judge is switched off.
        """
        self.memory.require_writable()
        self._judging()
        report: JudgeReport = self.worker.run("judge", cancelled)
        return report

    def rollback_judge(self) -> int:
        """Put the judge's calibration before in force again; return its version, 0 for none."""
        self.memory.require_writable()
        judge = self._judging()
        with self.worker.alone():
            return judge.rollback()

    def _judging(self) -> BrainJudge:
        if self._judge is None:
            raise ValueError("judge.enabled must be true for a judge")
        return self._judge


def _source(number: int, text: str, node_id: int = 0) -> Source:
    return Source(number, node_id, None, None, text, 0.0)
