"""The documented Python face of the compiled core; nothing else imports `ruvllm._core`.

Arrays are C-contiguous and of the stated dtype: a wrong one is an error naming the argument, never a silent copy. The
interpreter lock is released around the work. `RUVLLM_ISA=scalar|avx2|avx512|amx`, read once at import, forces an
instruction set; without it the best one the processor has is used.
"""

from ruvllm.kernels.bm25 import Bm25
from ruvllm.kernels.candidates import candidate_features, nearness, walk_prior
from ruvllm.kernels.edge_decay import edge_decay, edge_decay_and_mark, edge_features
from ruvllm.kernels.exact_search import exact_search, require_finite_rows, widen_rows
from ruvllm.kernels.fastgrnn import (
    ROUTER_HEADS,
    FastGrnn,
    FastGrnnGradients,
    FastGrnnInt8,
    FastGrnnTape,
    Head,
    keep_largest,
)
from ruvllm.kernels.graph import Direction, EdgeValues, Graph, Neighbours, Subgraph
from ruvllm.kernels.graph_attention import Attention, AttentionGradients, AttentionTape, GraphAttention
from ruvllm.kernels.isa import _use_isa as _use_isa
from ruvllm.kernels.isa import available_isas, isa
from ruvllm.kernels.neighbour_maxima import neighbour_maxima
from ruvllm.kernels.optimiser import TrainingStep, adamw_step
from ruvllm.kernels.pagerank import pagerank
from ruvllm.kernels.reservoir import Reservoir
from ruvllm.kernels.runtime import KvType, RuntimeModel, RuntimeSampler, RuntimeSession

__all__ = [
    "ROUTER_HEADS",
    "Attention",
    "AttentionGradients",
    "AttentionTape",
    "Bm25",
    "Direction",
    "EdgeValues",
    "FastGrnn",
    "FastGrnnGradients",
    "FastGrnnInt8",
    "FastGrnnTape",
    "Graph",
    "GraphAttention",
    "Head",
    "KvType",
    "Neighbours",
    "Reservoir",
    "RuntimeModel",
    "RuntimeSampler",
    "RuntimeSession",
    "Subgraph",
    "TrainingStep",
    "adamw_step",
    "available_isas",
    "candidate_features",
    "edge_decay",
    "edge_decay_and_mark",
    "edge_features",
    "exact_search",
    "isa",
    "keep_largest",
    "nearness",
    "neighbour_maxima",
    "pagerank",
    "require_finite_rows",
    "walk_prior",
    "widen_rows",
]
