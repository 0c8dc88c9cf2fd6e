"""What a brain remembers: documents, facts, questions and answers, and how they are found again."""

from ruvllm.memory.check import CheckReport, Finding
from ruvllm.memory.clusters import Cluster
from ruvllm.memory.concepts import Concept, StoredConcept
from ruvllm.memory.decay import DecayReport
from ruvllm.memory.decisions import LoggedDecision, LoggedOutcomes
from ruvllm.memory.face.care import CompactReport
from ruvllm.memory.index import HnswIndex
from ruvllm.memory.ingest import IngestProgress
from ruvllm.memory.interactions import Record
from ruvllm.memory.memory import Memory
from ruvllm.memory.rated import RatedAnswer
from ruvllm.memory.reembed import ReembedProgress
from ruvllm.memory.sessions import Session
from ruvllm.memory.sources import SourceSummary
from ruvllm.memory.stats import MemoryStats
from ruvllm.memory.why import Why, WhyEdge, WhySource

__all__ = [
    "CheckReport",
    "Cluster",
    "CompactReport",
    "Concept",
    "DecayReport",
    "Finding",
    "HnswIndex",
    "IngestProgress",
    "LoggedDecision",
    "LoggedOutcomes",
    "Memory",
    "MemoryStats",
    "RatedAnswer",
    "Record",
    "ReembedProgress",
    "Session",
    "SourceSummary",
    "StoredConcept",
    "Why",
    "WhyEdge",
    "WhySource",
]
