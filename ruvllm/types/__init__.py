"""The nouns of the package: small frozen records that the floors pass to each other."""

from ruvllm.types.answers import Interaction, Response, Source, Turn
from ruvllm.types.documents import DocumentFailure, IngestReport
from ruvllm.types.embedding import Embedder
from ruvllm.types.feedback import Feedback, SignalKind
from ruvllm.types.generation import FinishReason, GenerationOptions, Message
from ruvllm.types.graph import Edge, EdgeType, Explanation, Neighbourhood, Node, NodeType, Step, Tier
from ruvllm.types.requests import Constraints, Privacy, Request
from ruvllm.types.routing import Decision, QualitySource, Route, TierEstimate, TierOutcome
from ruvllm.types.search import Filter, Hit, Hits

__all__ = [
    "Constraints",
    "Decision",
    "DocumentFailure",
    "Edge",
    "EdgeType",
    "Embedder",
    "Explanation",
    "Feedback",
    "Filter",
    "FinishReason",
    "GenerationOptions",
    "Hit",
    "Hits",
    "IngestReport",
    "Interaction",
    "Message",
    "Neighbourhood",
    "Node",
    "NodeType",
    "Privacy",
    "QualitySource",
    "Request",
    "Response",
    "Route",
    "SignalKind",
    "Source",
    "Step",
    "Tier",
    "TierEstimate",
    "TierOutcome",
    "Turn",
]
