"""What outcomes taught the ranking of a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ruvllm.attention import AttentionEngine, Pattern
from ruvllm.attention.training import TrainingReport
from ruvllm.memory.arguments import checked_call, checked_each, checked_kind
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.jobs import JobState, JobTable
from ruvllm.memory.trials import TrialTable
from ruvllm.types import EdgeType
from ruvllm.types.checks import is_number

__all__ = ["Learning"]


class Learning(OpenedBrain):
    """How the ranking of a memory learns, and forgets again."""

    @property
    def attention_version(self) -> int:
        """Which version of the ranking is in force, 0 for the untrained one."""
        return self._lessons.version

    def train_attention(self, cancelled: Callable[[], bool] = lambda: False) -> TrainingReport:
        """Train the ranking on all answers that were rated good or corrected; durable on return.

        Credit goes to the sources that attribution, or a mark, says were needed; where no shown source says what a
        correction says, it teaches nothing. What ranks a held-out fifth of the answers worse than the untrained engine
        does is discarded; below ten good answers nothing is tried, nor where the version in force was made of the same.

        Args:
            cancelled: asked between examples; True ends the training, and nothing changes.
        """
        self.require_writable()
        checked_call(cancelled, "cancelled")
        self._writeback.flush()
        if self._space.known() is None:
            return TrainingReport(0, 0, None, None, accepted=False, reason="fewer than 10 good answers")
        return self._lessons.train(self._search, cancelled)

    def train_on_patterns(self, patterns: Iterable[Pattern], *, learning_rate: float = 0.1) -> dict[EdgeType, float]:
        """Move the bias of each edge type by how good the answers were that used it; return the new biases.

        Raises:
            TypeError, ValueError: something is no Pattern, or the learning rate is below 0 or not finite.
        """
        self.require_writable()
        each = [checked_kind(one, Pattern, "patterns") for one in checked_each(patterns, "patterns", "Patterns")]
        if not (is_number(learning_rate) and learning_rate >= 0.0):
            raise ValueError(f"learning_rate must be >= 0 ({learning_rate!r})")
        engine = AttentionEngine(self._lessons.engine().params())
        biases = engine.train_on_patterns(each, learning_rate=learning_rate)
        self._lessons.adopt(engine.params(), {"patterns": True})
        return biases

    def rollback_attention(self) -> int:
        """Take the last change of the ranking back; return the version now in force, 0 for the untrained."""
        self.require_writable()
        return self._lessons.rollback()

    def get_edge_bias_weights(self) -> dict[EdgeType, float]:
        """Return the learnt bias of each edge type, 0 at the start: above it, such edges are followed more readily."""
        return self._lessons.engine().get_edge_bias_weights()

    # -- in the background -------------------------------------------------------------------------------------------

    @property
    def job_table(self) -> JobTable:
        """The state of background jobs in the store."""
        return JobTable(self._store, self.namespace)

    @property
    def trial_table(self) -> TrialTable:
        """What the models of trials did, in the store; of the whole brain."""
        return TrialTable(self._store)

    def jobs(self) -> tuple[JobState, ...]:
        """Return the background jobs that this brain has had, with their last runs and when they are due, by name."""
        return self.job_table.states()
