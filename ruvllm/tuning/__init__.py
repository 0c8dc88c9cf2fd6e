"""The slow timescale: what was answered becomes what a student model is trained on, offline and gated."""

from ruvllm.tuning.curriculum import Curriculum, CurriculumBuilder, SftExample
from ruvllm.tuning.data_card import DataCard
from ruvllm.tuning.pairs import PreferencePair, RetrievalCorrection
from ruvllm.tuning.trace import Passage, Tag, Trace
from ruvllm.tuning.traces import TraceCollector

__all__ = [
    "Curriculum",
    "CurriculumBuilder",
    "DataCard",
    "Passage",
    "PreferencePair",
    "RetrievalCorrection",
    "SftExample",
    "Tag",
    "Trace",
    "TraceCollector",
]
