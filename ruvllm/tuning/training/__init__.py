"""Students: offline training of a copy of a model on a curriculum; needs the extra `train`."""

from ruvllm.tuning.training.progress import PhaseReport, TrainingStopped, TrainProgress
from ruvllm.tuning.training.student import Trained, train_student
from ruvllm.tuning.training.targets import lora_targets

__all__ = ["PhaseReport", "TrainProgress", "Trained", "TrainingStopped", "lora_targets", "train_student"]
