"""What the pipeline does for a trial: it counts what failed, says how answers came out, lets the shadow answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace

from ruvllm.errors import DeadlineExceeded, EngineError, ModelError
from ruvllm.inference import Engine
from ruvllm.judging import Judges
from ruvllm.orchestrator import Deadline, SpareTime
from ruvllm.pipeline.asking import UNFINISHED, Asking, Draft, Reader, again, reason
from ruvllm.pipeline.choice import DOWN, Choice
from ruvllm.pipeline.records import judged
from ruvllm.tuning.rollout.shadow import Figures, shadow_job
from ruvllm.tuning.rollout.trials import Arm, Trials
from ruvllm.types import GenerationOptions, Message, Response

__all__ = ["OnTrial", "may_answer_instead", "who_failed"]

Write = Callable[[Asking, Reader, Draft], Generator[str, None, Response]]


FAILED = Figures(None, 0.0, failed=True)


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

    def failed(self, arm: Arm | None, asking: Asking, error: Exception, draft: Draft) -> None:
        """Count a request that an arm did not answer, as `ended` does; a student that cannot be loaded is retired."""
        if arm is None or self._trials is None or _is_busy(error) or isinstance(error, CancelledError):
            return
        self._count(self._trials, arm, asking, FAILED, draft.messages)
        if arm.is_treatment and isinstance(error, ModelError):
            self._trials.cannot_load(arm, reason(error))

    def ended(self, arm: Arm | None, asking: Asking, response: Response, draft: Draft) -> None:
        """Say how an answer came out, and let a student in the shadow phase answer, too; returns at once."""
        if arm is None or self._trials is None or draft.finish_reason == "cancelled":
            return
        is_whole = draft.finish_reason not in UNFINISHED
        figures = Figures(response.quality, draft.latency_ms) if is_whole else FAILED
        self._count(self._trials, arm, asking, figures, draft.messages)

    def _count(self, trials: Trials, arm: Arm, asking: Asking, figures: Figures, messages: tuple[Message, ...]) -> None:
        """Keep figures, in the shadow phase beside the student's: also where the control failed, since both may."""
        if arm.student.phase == "canary":
            trials.answered(arm, asking.request, figures)
        elif self._spare_time is not None:
            self._spare_time.put(self._shadow(trials, arm, asking, figures, messages))

    def _shadow(
        self, trials: Trials, arm: Arm, asking: Asking, control: Figures, messages: tuple[Message, ...]
    ) -> Callable[[Callable[[], bool]], bool]:
        def answer(must_stop: Callable[[], bool]) -> Figures:
            try:
                return self._answer(replace(arm, is_treatment=True), again(asking, must_stop), messages)
            except CancelledError:
                raise
            except Exception as error:
                if _is_busy(error):  # of the control that does not count either
                    raise CancelledError from error
                if isinstance(error, ModelError):
                    trials.cannot_load(arm, reason(error))
                return FAILED

        return shadow_job(
            answer,
            keep=lambda treatment: trials.compared(arm, asking.request, control, treatment),
            is_wanted=lambda: trials.goes_on(arm),
        )

    def _answer(self, arm: Arm, asking: Asking, messages: tuple[Message, ...]) -> Figures:
        """Let the student answer; as in service, what was said before is in its cache by then, and time may run out.

        Raises:
            CancelledError: it had to stop.
        """
        draft = Draft()
        with self._choice.reader(arm.student.tier, asking, arm=arm) as reader:
            if reader.engine is not None and len(messages) > 2:
                _read(reader.engine, messages[:-1], asking.cancelled)
            timed = replace(asking, deadline=Deadline(asking.request.timeout_s))
            response = _last(self._write(timed, reader, draft))
        if draft.finish_reason == "cancelled":
            raise CancelledError
        if draft.finish_reason in UNFINISHED:
            return FAILED
        return Figures(judged(self._judge, asking, response, draft).quality, draft.latency_ms)


def _is_busy(error: Exception) -> bool:
    """Return whether there was no room for a model."""
    return isinstance(error, TimeoutError) and not isinstance(error, DeadlineExceeded)


def _read(engine: Engine, messages: tuple[Message, ...], must_stop: Callable[[], bool]) -> None:
    """Let an engine read earlier turns, which it keeps in its cache; only its answer may count as failed."""
    with suppress(EngineError):
        for _ in engine.stream(messages, GenerationOptions(max_new_tokens=1), cancelled=must_stop):
            pass


def _last(steps: Generator[str, None, Response]) -> Response:
    """Return the response of an answer that nobody reads as it is written."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
