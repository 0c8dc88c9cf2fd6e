"""Graph attention over 50 nodes and 100 edges of 384 dimensions, per instruction set and beside its peers."""

from __future__ import annotations

import numpy as np

from ruvllm import kernels
from ruvllm.bench.kernels.graph_attention import (
    default_engine,
    full_layer,
    layer_peers,
    make_case,
    one_query,
    query_peers,
)

from . import use_isa

OURS = {"layer, full width": full_layer, "one query": one_query, "default engine": default_engine}


class GraphAttention:
    """A layer with four projections, the readout alone, and the default engine."""

    param_names = ("what", "isa")
    params = (list(OURS), ["scalar", "avx2", "avx512"])

    def setup(self, what: str, isa: str) -> None:
        use_isa(isa)
        self.call = OURS[what](make_case())

    def time_forward(self, what: str, isa: str) -> None:
        self.call()


class GraphAttentionTraining:
    """The default engine, one pass forward and one back."""

    param_names = ("isa",)
    params = (["scalar", "avx2", "avx512"],)

    def setup(self, isa: str) -> None:
        use_isa(isa)
        case = make_case()
        self.engine = kernels.GraphAttention(
            case.nodes.shape[1],
            num_edge_features=case.edge_features.shape[1],
            num_node_features=case.node_features.shape[1],
        )
        self.engine.set_params(self.engine.initial_params(np.random.default_rng(0)))
        self.inputs = tuple(getattr(case, name) for name in case.__slots__)
        self.gradient = np.random.default_rng(1).standard_normal(len(case.nodes)).astype(np.float32)

    def time_forward_and_backward(self, isa: str) -> None:
        tape = self.engine.forward(*self.inputs, keep=True).tape
        self.engine.backward(tape, grad_weights=self.gradient)

    def time_set_params(self, isa: str) -> None:
        self.engine.set_params(self.engine.params())


class GraphAttentionPeers:
    """The peers of a layer and of one query, on one thread."""

    param_names = ("peer",)
    params = (
        [
            "torch_geometric GATv2Conv",
            "torch_geometric TransformerConv",
            "torch, dense SDPA with a mask",
            "torch, scattered by hand",
            "torch, all nodes projected",
            "torch, folded by hand",
        ],
    )

    def setup(self, peer: str) -> None:
        case = make_case()
        peers = layer_peers(case) | query_peers(case)
        if peer not in peers:
            raise NotImplementedError  # not installed
        self.call = peers[peer]

    def time_forward(self, peer: str) -> None:
        self.call()
