"""What the pipeline does for a trial: it counts what failed, says how answers came out, lets the shadow answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from dataclasses import replace

from ruvllm.errors import DeadlineExceeded, ModelError
from ruvllm.inference import Engine
from ruvllm.judging import Judges
from ruvllm.orchestrator import SpareTime
from ruvllm.pipeline.asking import UNFINISHED, Asking, Draft, Reader, again, reason
from ruvllm.pipeline.choice import DOWN, Choice
from ruvllm.pipeline.records import judged
from ruvllm.tuning.rollout.shadow import Figures, shadow_job
from ruvllm.tuning.rollout.trials import Arm, Trials
from ruvllm.types import GenerationOptions, Message, Response

__all__ = ["OnTrial", "may_answer_instead", "who_failed"]

Write = Callable[[Asking, Reader, Draft], Generator[str, None, Response]]


def may_answer_instead(arm: Arm | None, error: Exception) -> bool:
    """Return whether another model may answer after an error; after any of a student on trial."""
    if isinstance(error, DeadlineExceeded | CancelledError):
        return False
    return isinstance(error, DOWN) or (arm is not None and arm.is_treatment)


def who_failed(tier: str, arm: Arm | None) -> str:
    """Return the name of who did not answer."""
    return arm.student.name if arm is not None and arm.is_treatment else tier


class OnTrial:
    """Tells the trials how requests came out. The arguments are the pipeline's; without an arm nothing happens."""

    def __init__(
        self,
        trials: Trials | None,
        choice: Choice,
        judge: Judges | None,
        spare_time: SpareTime | None,
        write: Write,
    ) -> None:
        self._trials = trials
        self._choice = choice
        self._judge = judge
        self._spare_time = spare_time
        self._write = write

    def failed(self, arm: Arm | None, asking: Asking, error: Exception) -> None:
        """Count a request that an arm did not answer; a student that cannot be loaded is retired."""
        is_busy = isinstance(error, TimeoutError) and not isinstance(error, DeadlineExceeded)  # no room for the model
        if arm is None or self._trials is None or is_busy or isinstance(error, CancelledError):
            return
        self._trials.answered(arm, asking.request, Figures(None, 0.0, failed=True))
        if arm.is_treatment and isinstance(error, ModelError):
            self._trials.cannot_load(arm, reason(error))

    def ended(self, arm: Arm | None, asking: Asking, response: Response, draft: Draft) -> None:
        """Say how an answer came out, and let a student in the shadow phase answer, too; returns at once."""
        if arm is None or self._trials is None or draft.finish_reason == "cancelled":
            return
        figures = Figures(response.quality, draft.latency_ms, failed=draft.finish_reason in UNFINISHED)
        if arm.student.phase == "canary":
            self._trials.answered(arm, asking.request, figures)
        elif self._spare_time is not None and not figures.failed:
            self._spare_time.put(self._shadow(self._trials, arm, asking, figures, draft.messages))

    def _shadow(
        self, trials: Trials, arm: Arm, asking: Asking, control: Figures, messages: tuple[Message, ...]
    ) -> Callable[[Callable[[], bool]], bool]:
        def answer(must_stop: Callable[[], bool]) -> Figures:
            try:
                return self._answer(replace(arm, is_treatment=True), again(asking, must_stop), messages)
            except CancelledError:
                raise
            except Exception as error:
                if isinstance(error, ModelError):
                    trials.cannot_load(arm, reason(error))
                return Figures(None, 0.0, failed=True)

        return shadow_job(
            answer,
            keep=lambda treatment: trials.compared(arm, asking.request, control, treatment),
            is_wanted=lambda: trials.goes_on(arm),
        )

    def _answer(self, arm: Arm, asking: Asking, messages: tuple[Message, ...]) -> Figures:
        """Let the student answer; as in service, what was said before is in its cache by then.

        Raises:
            CancelledError: it had to stop.
        """
        draft = Draft()
        with self._choice.reader(arm.student.tier, asking, arm=arm) as reader:
            if reader.engine is not None and len(messages) > 2:
                _read(reader.engine, messages[:-1], asking.cancelled)
            steps = self._write(asking, reader, draft)
            response = _last(steps)
        if draft.finish_reason == "cancelled":
            raise CancelledError
        return Figures(judged(self._judge, asking, response, draft).quality, draft.latency_ms)


def _read(engine: Engine, messages: tuple[Message, ...], must_stop: Callable[[], bool]) -> None:
    """Let an engine read earlier turns, which it keeps in its cache."""
    for _ in engine.stream(messages, GenerationOptions(max_new_tokens=1), cancelled=must_stop):
        pass


def _last(steps: Generator[str, None, Response]) -> Response:
    """Return the response of an answer that nobody reads as it is written."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
