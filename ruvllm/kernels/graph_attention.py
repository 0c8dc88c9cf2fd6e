"""Graph attention: a query attends over the nodes of a subgraph whose edges bias what nodes see of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["Attention", "AttentionGradients", "AttentionTape", "GraphAttention"]

Reals = npt.NDArray[Any]  # float32, or float64 in an engine made with dtype=np.float64


@dataclass(frozen=True, slots=True)
class Attention:
    """What the query found. `tape` is there when the pass was run with `keep=True`."""

    ranking: npt.NDArray[np.int64]
    """(n,) nodes by falling weight, of equal ones the lower index first."""
    weights: Reals
    """(n,) mean over the heads of the readout's attention, sums to 1."""
    attended: Reals
    """(dim,) the nodes' projected vectors, pooled by the attention of each head."""
    tape: AttentionTape | None = None


class AttentionTape:
    """What a forward pass computed, for its backward pass and for whoever wants to look; every property copies.

    It keeps copies of the arrays of the call, which may change before `backward`.
    """

    def __init__(self, tape: core.AttentionTape) -> None:
        self._tape = tape

    @property
    def edge_weights(self) -> list[Reals]:
        """Per layer (num_edges, num_heads): how much each edge's row attends to its end."""
        return self._tape.edge_weights

    @property
    def self_weights(self) -> list[Reals]:
        """Per layer (n, num_heads): how much each node attends to itself; with its edges' weights this sums to 1."""
        return self._tape.self_weights

    @property
    def contexts(self) -> list[Reals]:
        """Per layer (n, width): the weighted sums of values, heads side by side, before the output projection."""
        return self._tape.contexts

    @property
    def states(self) -> list[Reals]:
        """Per layer (n, dim): the nodes after it."""
        return self._tape.states

    @property
    def readout_weights(self) -> Reals:
        """(n, num_heads): the readout's attention; every column sums to 1."""
        return self._tape.readout_weights


@dataclass(frozen=True, slots=True)
class AttentionGradients:
    """Gradients of a loss; `params` is laid out like the engine's own (see `GraphAttention.views`)."""

    params: Reals
    nodes: Reals
    edge_features: Reals
    query: Reals
    node_features: Reals


class GraphAttention:
    """Stacked layers of edge-biased multi-head attention, then a readout by the query; forward and backward.

    A layer, for nodes H (n, dim), with p = width, head by head, j over the edges of row i and i itself:
        e_ij = Q_i . K_j / sqrt(p / num_heads) + edge_features_ij . edge_bias  (self_bias where j = i)
        C_i = sum_j softmax_j(e_ij) V_j, the heads side by side
        H <- gamma * normalized(H + C w_o) + beta, each row to mean 0 and variance 1 (epsilon 1e-5)
    The readout, for a query x and every node i:
        s_i = (w_q x)_h . (w_k H_i)_h / sqrt(p / num_heads) + hop_bias[hops_i, h] + node_features_i . node_bias[:, h]
        weights = mean over heads of softmax(s); attended = concat_h(sum_i softmax(s)_i w_v H_i) w_o
    Its projections of the nodes are folded into the query, so it costs the reading of its weights.

    Cost grows with nodes and edges, never with their square. In a new engine gamma is 1 and every other parameter 0:
    the weights are softmax(hop_bias + node_features . node_bias), so that a log prior as node feature with a bias of 1
    comes back as that prior. Several threads may call at once; calls in flight keep the parameters they started with.

    Source: Vaswani et al. 2017 (arXiv:1706.03762) over the neighbours of a graph, as Velickovic et al. 2018
    (arXiv:1710.10903), with additive edge biases as in Graphormer (Ying et al. 2021, arXiv:2106.05234).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_edge_features: int,
        num_node_features: int,
        width: int = 32,
        num_heads: int = 4,
        num_layers: int = 2,
        num_hop_biases: int = 4,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Make an engine for node vectors of `dim` entries.

        Args:
            num_edge_features: columns of `edge_features`, may be 0.
            num_node_features: columns of `node_features` (seed scores, log prior, ...), may be 0.
            width: of every projection, all heads together; a multiple of num_heads.
            num_layers: 0 leaves the readout only.
            num_hop_biases: hops beyond the last share its bias.
            dtype: of parameters, inputs and results. float64 runs the scalar definition, for gradient checks.

        Raises:
            ValueError: a size is negative, absurd (above 65536, or 2^27 parameters in all) or no multiple of num_heads;
                another dtype.
        """
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64 ({self.dtype})")
        engine = core.GraphAttention if self.dtype == np.float32 else core.GraphAttentionInDouble
        self._engine: core.GraphAttention = engine(
            dim, width, num_heads, num_layers, num_edge_features, num_node_features, num_hop_biases
        )
        places = {name: (offset, shape) for name, offset, shape in self._engine.layout()}
        self.layout: Mapping[str, tuple[int, tuple[int, ...]]] = MappingProxyType(places)
        """name -> (offset, shape) in the flat buffer of parameters: layers.L.w_qkv (3 width, dim), layers.L.w_o (width,
        dim), layers.L.edge_bias (num_edge_features, num_heads), layers.L.self_bias (num_heads,), layers.L.gamma and
        .beta (dim,), readout.w_q, .w_k, .w_v and .w_o (width, dim), readout.hop_bias (num_hop_biases, num_heads),
        readout.node_bias (num_node_features, num_heads)."""
        self.num_params = sum(prod(shape) for _, shape in places.values())

    def views(self, flat: Reals) -> dict[str, Reals]:
        """Return name -> view of `flat`, parameters or their gradients: writing to a view writes to `flat`.

        Raises:
            ValueError: `flat` is not contiguous with shape (num_params,).
        """
        if flat.shape != (self.num_params,) or not flat.flags.c_contiguous:
            raise ValueError(f"flat must be contiguous with shape ({self.num_params},) ({flat.shape})")
        return {
            name: flat[offset : offset + prod(shape)].reshape(shape) for name, (offset, shape) in self.layout.items()
        }

    def params(self) -> Reals:
        """Return a copy of the flat parameters, (num_params,); step an optimiser over it, then `set_params`."""
        return self._engine.params()

    def set_params(self, params: Reals) -> None:
        """Replace all parameters by a copy of `params`, for every call that starts from now on.

        Raises:
            ValueError: a wrong dtype or length, a NaN or an infinity; the old parameters stay.
        """
        self._engine.set_params(params)

    def initial_params(self, rng: np.random.Generator, *, scale: float = 1.0) -> Reals:
        """Return parameters to start training from: projections normal with variance scale^2 / fan-in, biases 0.

        A small `scale` starts near what the biases say alone; at 0 the projections would never learn.
        """
        flat = np.zeros(self.num_params, self.dtype)
        for name, view in self.views(flat).items():
            kind = name.rpartition(".")[2]
            if kind.startswith("w_"):  # (out, in), but w_o (in, out)
                fan_in = view.shape[0] if kind == "w_o" else view.shape[1]
                view[...] = rng.standard_normal(view.shape) * (scale / np.sqrt(fan_in))
            elif kind == "gamma":
                view[...] = 1.0
        return flat

    def encode(
        self,
        nodes: Reals,
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        edge_features: Reals,
    ) -> Reals:
        """Return the nodes after the layers, (n, dim), without the readout; arguments and errors as `forward`."""
        return self._engine.encode(nodes, indptr, indices, edge_features)

    def forward(
        self,
        nodes: Reals,
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        edge_features: Reals,
        query: Reals,
        hops: npt.NDArray[np.int32],
        node_features: Reals,
        *,
        keep: bool = False,
    ) -> Attention:
        """Return what `query` finds among `nodes`.

        Args:
            nodes: (n, dim) vectors, n >= 1.
            indptr: (n + 1,) int64, ascending from 0 to num_edges.
            indices: (num_edges,) int32 in [0, n): row i lists the nodes that node i attends to beside itself.
            edge_features: (num_edges, num_edge_features), in the order of `indices`.
            query: (dim,).
            hops: (n,) int32, distance from the seeds, >= 0.
            node_features: (n, num_node_features).
            keep: keep what `backward` needs, as `tape`; it has its own memory.

        Raises:
            TypeError: an argument is not an array.
            ValueError: no nodes; a wrong dtype, shape or order; a NaN or an infinity; an index, a pointer or a hop out
                of range; numbers so large that the pass overflows.
        """
        ranking, weights, attended, tape = self._engine.forward(
            nodes, indptr, indices, edge_features, query, hops, node_features, keep
        )
        return Attention(ranking, weights, attended, None if tape is None else AttentionTape(tape))

    def backward(
        self, tape: AttentionTape, *, grad_weights: Reals | None = None, grad_attended: Reals | None = None
    ) -> AttentionGradients:
        """Return the gradients of a loss by everything that went into the pass of `tape`.

        They are taken at the parameters the pass was made with.

        Args:
            grad_weights: (n,) the loss by `Attention.weights`; zero when None.
            grad_attended: (dim,) the loss by `Attention.attended`; zero when None.

        Raises:
            ValueError: a gradient has a wrong dtype or shape or is not finite; the tape is of an engine of other sizes.
        """
        return AttentionGradients(*self._engine.backward(tape._tape, grad_weights, grad_attended))
