"""A training that kills its own process at a step: child.py CURRICULUM BASE OUT PHASE STEP [GENERAL PASS_TOKENS]."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from ruvllm.tuning.training import TrainProgress, phases, train_student
from tuning.training import cases

curriculum, base, out = (Path(argument) for argument in sys.argv[1:4])
PHASE, STEP = sys.argv[4], int(sys.argv[5])


def die(progress: TrainProgress) -> None:
    if progress.phase == PHASE and progress.step >= STEP:
        os.kill(os.getpid(), signal.SIGKILL)


options = cases.OPTIONS
if len(sys.argv) > 6:
    options = msgspec.structs.replace(options, general=sys.argv[6])
    phases.PASS_TOKENS = int(sys.argv[7])
train_student(curriculum, base, out, options, on_progress=die)
