"""The router of several models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ruvllm.system.parts import Parts, never

if TYPE_CHECKING:
    from ruvllm.brain_router import BrainRouter
    from ruvllm.router.certificate import Certificate, Refusal
    from ruvllm.router.learn import Report as RouterReport

__all__ = ["RoutesModels"]


class RoutesModels(Parts):
    """Trains and certifies who answers."""

    def train_router(self, *, cancelled: Callable[[], bool] = never) -> RouterReport:
        """Train the router on all that models did on questions; durable on return.

        What judges requests it never saw no better than the router in force is discarded, and the report says so.

        Args:
            cancelled: asked between steps; True ends the training, and nothing changes.

        Raises:
            ValueError: there is one model: it answers everything.
        """
        self._routing()
        report: RouterReport = self.worker.run("router", cancelled)
        return report

    def rollback_router(self) -> int:
        """Put the router before in force again; return its version, 0 for none: then the safe default answers."""
        router = self._routing()
        with self.worker.alone():
            return router.rollback()

    def certify_router(self) -> Certificate | Refusal:
        """Prove, on requests that every model answered, how far questions may go to smaller models; or say why not.

        What is promised is the configuration's: at most a share `router.risk` of the answers misses
        `router.quality_floor` where the largest model would have met it, with probability
        `router.certificate_confidence`. Which requests every model answers, a coin decides beforehand
        (`router.calibrate`); their answers' quality is told by `judge_outcome`.

        Raises:
            ValueError: there is one model.
        """
        router = self._routing()
        with self.worker.alone():
            return router.certify()

    def _routing(self) -> BrainRouter:
        self.memory.require_writable()
        if self._router is None:
            raise ValueError("models.tiers must name at least two models, and router.enabled be true, for a router")
        return self._router
