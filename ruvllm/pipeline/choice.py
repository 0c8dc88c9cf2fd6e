"""Who answers: the router's choice, the default where there is none, and how an engine is borrowed."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from ruvllm.config import Config
from ruvllm.errors import EngineError, ModelError, ModelMissing, PullError
from ruvllm.inference import Engine
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.memory import Memory
from ruvllm.orchestrator import SpareTime
from ruvllm.pipeline.asking import Asking, Reader, reason
from ruvllm.routing import Asked, Lends, Routes, allowed, probe_with, shown
from ruvllm.tuning.rollout.trials import Arm, Trials
from ruvllm.types import Constraints, Decision, TierOutcome

__all__ = ["DOWN", "MISSING", "Choice"]

logger = logging.getLogger(__name__)

MISSING = (ModelMissing, PullError)  # nobody answers: the best passage is quoted
DOWN = (ModelError, PullError, EngineError, TimeoutError)  # another tier may answer


class Choice:
    """Knows the tiers, asks the router, lends engines. The arguments are the pipeline's."""

    def __init__(
        self,
        memory: Memory,
        engine: Lends,
        config: Config,
        router: Routes | None,
        spare_time: SpareTime | None,
        trials: Trials | None,
    ) -> None:
        self._memory = memory
        self._engine = engine
        self._router = router
        self._spare_time = spare_time
        self._trials = trials
        self._tiers = config.models.tiers or (config.generation.model,)
        self._default = config.generation.model

    def tiers(self, asking: Asking) -> tuple[str, ...]:
        """Return the tiers that a question may be sent to; why there is no choice among them is said, too."""
        tiers = allowed(self._tiers, asking.request.constraints or Constraints())
        if len(self._tiers) < 2:
            asking.why_no_choice = "there is one tier"
        else:
            is_off = self._router is None
            asking.why_no_choice = "the router is switched off" if is_off else "the constraints leave one tier"
        return tiers

    def is_open(self, tiers: tuple[str, ...]) -> bool:
        """Return whether there is something to choose, and somebody to do it."""
        return self._router is not None and len(tiers) > 1

    def default(self, tiers: tuple[str, ...]) -> str:
        """Return the default tier, or the largest where that one may not be asked."""
        return self._default if self._default in tiers else tiers[-1]

    def is_tried(self, tiers: tuple[str, ...], asking: Asking) -> bool:
        """Return whether a student is on trial for the default tier."""
        return bool(tiers) and self._arm(self.default(tiers), asking) is not None

    def candidates(
        self, order: Iterable[str], names: Mapping[str, str], asking: Asking
    ) -> Iterator[tuple[str, Arm | None]]:
        """Yield who is asked, one after another where the one before is down: tiers in `order`, each with the request's
        side of its trial. After a student on trial its tier is asked without one, which counts for nobody."""
        for tier in order:
            arm = self._arm(names[tier], asking)
            yield tier, arm
            if arm is not None and arm.is_treatment:
                yield tier, None

    def _arm(self, tier: str, asking: Asking) -> Arm | None:
        return None if self._trials is None else self._trials.arm(tier, asking.request)

    def lend(self, tier: str, asking: Asking, arm: Arm | None = None) -> AbstractContextManager[Engine]:
        """Lend the engine of a tier, or of the student on trial, waiting no longer than there is time."""
        left_s = asking.deadline.left_s(math.inf)
        timeout_s = None if left_s == math.inf else left_s
        if self._trials is not None and arm is not None and arm.is_treatment:
            return self._trials.lend(arm.student, timeout_s=timeout_s, cancelled=asking.cancelled)
        return self._engine(tier, timeout_s=timeout_s, cancelled=asking.cancelled)

    @contextmanager
    def reader(
        self, tier: str, asking: Asking, decision: Decision | None = None, arm: Arm | None = None
    ) -> Iterator[Reader]:
        """Lend a reader of a tier; it says which student it is."""
        with self.lend(tier, asking, arm) as engine:
            student = "" if self._trials is None else self._trials.student_named(engine.name)
            yield Reader(shown(tier), engine, decision, student, arm)

    def borrow_default(self, lease: ExitStack, tiers: tuple[str, ...], asking: Asking) -> Reader:
        """Return the default tier; without a model, say so."""
        if not tiers:
            asking.note("load", "no model answered: with privacy 'local' none may be asked, all are endpoints")
            return Reader()
        tier = self.default(tiers)
        try:
            return lease.enter_context(self.reader(tier, asking))
        except MISSING as error:
            asking.degrade("load", f"no model answered: {reason(error)}")
            return Reader()

    def decide(self, asking: Asking, tiers: tuple[str, ...]) -> Decision | None:
        """Return the router's choice; None where it fails, or has no vector to choose by.

        Raises:
            CancelledError: nobody wants the answer any more.
        """
        if self._router is None or asking.vector is None:
            asking.degrade("route", "the default tier answers: the question has no vector to choose by")
        else:
            try:
                return self._decision(self._router, asking, asking.vector, tiers)
            except CancelledError:  # while the probe waited for its model
                raise
            except Exception as error:
                logger.info("the router failed", exc_info=True)
                asking.degrade("route", f"the default tier answers: {reason(error)}")
        asking.why_no_choice = "the router failed"
        return None

    def answered(self, decision: Decision, outcome: TierOutcome) -> None:
        """Tell the router what came of a decision."""
        if self._router is not None:
            self._router.answered(decision, outcome)

    def _decision(self, router: Routes, asking: Asking, vector: np.ndarray, tiers: tuple[str, ...]) -> Decision:
        session = asking.request.session
        vectors, links = self._memory.among([hit.node.id for hit in asking.hits])
        asked = Asked(
            query=asking.query,
            vector=vector,
            hits=asking.hits,
            hit_vectors=vectors,
            hit_links=links,
            session=session,
            turn=self._memory.count_turns(session) if session else 0,
            constraints=asking.request.constraints or Constraints(),
            tiers=tuple(map(shown, tiers)),
        )
        decision = router.decide(asked, probe=lambda: self._probe(asking, tiers))
        is_taken = self._spare_time is not None and self._spare_time.has_room and not self._memory.read_only
        return decision if is_taken else replace(decision, calibrates=False)

    def _probe(self, asking: Asking, tiers: tuple[str, ...]) -> tuple[Probe, int] | None:
        """Let the smallest local tier look at a question; None where none is up."""
        smallest = next((tier for tier in tiers if not is_remote(tier)), None)
        if smallest is None:
            return None
        try:
            with self.lend(smallest, asking) as engine:
                return probe_with(engine, asking.query)
        except (*DOWN, RuntimeError) as error:  # the last: this thread's own streams leave no room for that tier
            logger.debug("no probe: %s", error)
            return None
