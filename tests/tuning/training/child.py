"""A training that kills its own process at a step: child.py CURRICULUM BASE OUT PHASE STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ruvllm.tuning.training import TrainProgress, train_student
from tuning.training import cases

curriculum, base, out = (Path(argument) for argument in sys.argv[1:4])
PHASE, STEP = sys.argv[4], int(sys.argv[5])


def die(progress: TrainProgress) -> None:
    if progress.phase == PHASE and progress.step >= STEP:
        os.kill(os.getpid(), signal.SIGKILL)


train_student(curriculum, base, out, cases.OPTIONS, on_progress=die)
