"""The engine that ranks candidates: a PageRank prior, and graph attention that starts as that prior and learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm import kernels
from ruvllm.attention.features import (
    EDGE_TYPES,
    FEATURES,
    QUESTION_FEATURES,
    Candidates,
    node_features,
    pagerank_prior,
    question_features,
    type_weights,
)
from ruvllm.types import EdgeType
from ruvllm.types.checks import require_share

__all__ = ["AttentionEngine", "Example", "Inputs", "Pattern", "Ranked"]

Floats = npt.NDArray[np.float32]

DIM = 48  # of a node's state: its features, padded with zeros to a multiple of the registers
WIDTH, NUM_HEADS, NUM_LAYERS, NUM_HOPS = 16, 2, 1, 4
NUM_EDGE_FEATURES = len(EDGE_TYPES) + 5
FEATURE_VERSION = 2
"""Raised whenever features or sizes change, so that weights learnt for others are not loaded."""

assert len(FEATURES) <= DIM >= len(QUESTION_FEATURES)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path that an answer used, by its edge types, and how good the answer was, in [0, 1]."""

    edge_types: tuple[EdgeType, ...]
    quality: float

    def __post_init__(self) -> None:
        require_share(self.quality, "quality")
        if not isinstance(self.edge_types, tuple | list) or any(one not in list(EdgeType) for one in self.edge_types):
            raise ValueError(f"edge_types must be some of {', '.join(EdgeType)} ({self.edge_types!r})")


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What the kernel takes for one question."""

    nodes: Floats
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    edge_features: Floats
    query: Floats
    hops: npt.NDArray[np.int32]
    node_features: Floats

    def arrays(self) -> tuple[npt.NDArray[np.generic], ...]:
        return (
            self.nodes, self.indptr, self.indices, self.edge_features, self.query, self.hops, self.node_features
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A question whose answer was rated: candidates, the credit of each, (n,) summing to at most 1, and which of them,
    (n,), the others are not compared with; None = no such."""

    inputs: Inputs
    credit: Floats
    weight: float = 1.0
    ignored: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Weights of the candidates, (n,) summing to 1, the prior they started from, and what the kernel was given."""

    weights: Floats
    prior: Floats
    inputs: Inputs


class AttentionEngine:
    """Ranks a question's candidates. Safe from several threads; parameters are replaced as a whole.

    A node's state is its features; layers let it attend to its neighbours under a bias by edge type, and the readout
    weighs the result by what sort of question it is. The untrained engine ranks exactly as the PageRank prior: the
    projected question is zero and only the logarithm of the prior has a weight, which is 1.

    Edge biases have two uses that mean the same: what a node sees of its neighbours, and how ready the walk of the
    prior is to follow edges of a type.

    Args:
        params: as `params` returned them; the untrained ones when None.

    Raises:
        ValueError: parameters of another number, or not finite.
    """

    def __init__(self, params: Floats | None = None) -> None:
        self._kernel = kernels.GraphAttention(
            DIM,
            num_edge_features=NUM_EDGE_FEATURES,
            num_node_features=len(FEATURES),
            width=WIDTH,
            num_heads=NUM_HEADS,
            num_layers=NUM_LAYERS,
            num_hop_biases=NUM_HOPS,
        )
        self.set_params(self.untrained() if params is None else params)

    @property
    def kernel(self) -> kernels.GraphAttention:
        """The compiled engine with the parameters in force."""
        return self._kernel

    def untrained(self) -> Floats:
        """Return the parameters that rank as the prior does; the same at every call."""
        flat: Floats = self._kernel.initial_params(np.random.default_rng(0))
        views = self._kernel.views(flat)
        views["readout.w_q"][...] = 0.0  # what the layers say counts for nothing yet
        views["readout.w_v"][...] = views["readout.w_o"][...] = 0.0
        views["readout.node_bias"][FEATURES.index("log_prior")] = 1.0
        return flat

    def params(self) -> Floats:
        """Return a copy of the parameters, flat float32."""
        flat: Floats = self._kernel.params()
        return flat

    def set_params(self, params: Floats) -> None:
        """Replace the parameters for every call that starts from now on."""
        self._kernel.set_params(np.ascontiguousarray(params, np.float32))
        bias = self._kernel.views(self.params())["layers.0.edge_bias"][: len(EDGE_TYPES)]
        type_bias = np.ascontiguousarray(bias.mean(axis=1), np.float32)
        self._type_bias, self._followed = type_bias, type_weights(type_bias)

    # -- ranking -----------------------------------------------------------------------------------------------------

    def rank(self, candidates: Candidates, edge_features: Floats) -> Ranked:
        """Return the weight of each candidate.

        Args:
            edge_features: (nnz, NUM_EDGE_FEATURES), as `kernels.Graph.edge_features` gives them.
        """
        prior = pagerank_prior(candidates, self._followed)
        inputs = make_inputs(candidates, edge_features, prior)
        return Ranked(self._kernel.forward(*inputs.arrays()).weights, prior, inputs)  # type: ignore[arg-type]

    # -- edge types --------------------------------------------------------------------------------------------------

    def get_edge_bias_weights(self) -> dict[EdgeType, float]:
        """Return the bias of each edge type: above 0, its edges are followed more readily than at the start."""
        return {type: float(bias) for type, bias in zip(EDGE_TYPES, self._type_bias, strict=True)}

    def train_on_patterns(self, patterns: Iterable[Pattern], *, learning_rate: float = 0.1) -> dict[EdgeType, float]:
        """Move the bias of each edge type by how good the answers were that used it; return the new biases.

        Each use of a type adds learning_rate (2 quality - 1): an answer of quality 1/2 says nothing.
        """
        flat = self.params()
        bias = self._kernel.views(flat)["layers.0.edge_bias"]
        for pattern in patterns:
            for type in pattern.edge_types:
                bias[EDGE_TYPES.index(EdgeType(type))] += learning_rate * (2.0 * pattern.quality - 1.0)
        self.set_params(flat)
        return self.get_edge_bias_weights()


def make_inputs(candidates: Candidates, edge_features: Floats, prior: Floats) -> Inputs:
    """Return what the kernel takes for these candidates."""
    features = node_features(candidates, prior)
    nodes = np.zeros((len(features), DIM), np.float32)
    nodes[:, : len(FEATURES)] = features
    query = np.zeros(DIM, np.float32)
    query[: len(QUESTION_FEATURES)] = question_features(candidates)
    graph = candidates.graph
    return Inputs(
        nodes, graph.indptr, graph.indices, edge_features, query, np.minimum(graph.hops, NUM_HOPS - 1), features
    )
