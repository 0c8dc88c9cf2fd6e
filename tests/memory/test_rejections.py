"""ruvllm/memory/rejections.py: another number after everything that says that an answer was not a good one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .fakes import routed

Said = Callable[[Memory], object]


@pytest.fixture
def answered(memory: Memory) -> Memory:
    memory.record(routed("a1"))
    return memory


@pytest.mark.parametrize(
    "say",
    [
        lambda memory: memory.feedback("a1", Feedback(rating=1)),
        lambda memory: memory.feedback("a1", Feedback(task_success=False)),
        lambda memory: memory.feedback("a1", Feedback(rating=5, correction="Otherwise.")),
        lambda memory: memory.judge_outcome("a1", "small", 0.1),
    ],
)
def test_a_rejection_is_another_number_in_every_process(
    answered: Memory, open_memory: Callable[..., Memory], say: Said
) -> None:
    reader = open_memory(read_only=True)
    before = reader.rejections
    say(answered)
    assert answered.rejections == reader.rejections == before + 1


@pytest.mark.parametrize(
    "say",
    [
        lambda memory: memory.feedback("a1", Feedback(rating=4)),
        lambda memory: memory.judge_outcome("a1", "small", 0.9),
    ],
)
def test_praise_is_no_rejection(answered: Memory, say: Said) -> None:
    say(answered)
    assert answered.rejections == 0
