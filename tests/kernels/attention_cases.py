"""Random graphs and engines for the tests of graph attention."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ruvllm.kernels import Attention, GraphAttention

EPS = float(np.finfo(np.float32).eps)

Inputs = dict[str, np.ndarray]


def random_inputs(n: int, num_edges: int, *, dim: int, features: tuple[int, int], seed: int = 0) -> Inputs:
    """A graph whose row 0 has no edges when n > 1, with self-loops and repeated edges among the others."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(min(1, n - 1), n, num_edges))
    return {
        "nodes": rng.standard_normal((n, dim), dtype=np.float32),
        "indptr": np.searchsorted(rows, np.arange(n + 1)).astype(np.int64),
        "indices": rng.integers(0, n, num_edges).astype(np.int32),
        "edge_features": rng.standard_normal((num_edges, features[0]), dtype=np.float32),
        "query": rng.standard_normal(dim, dtype=np.float32),
        "hops": (np.arange(n) % 5).astype(np.int32),
        "node_features": rng.standard_normal((n, features[1]), dtype=np.float32),
    }


def random_engine(dim: int, *, dtype: type = np.float32, seed: int = 1, **sizes: int) -> GraphAttention:
    """Every parameter away from 0, gamma away from 1."""
    engine = GraphAttention(dim, dtype=dtype, **({"num_edge_features": 5, "num_node_features": 3} | sizes))
    rng = np.random.default_rng(seed)
    flat = engine.initial_params(rng)
    engine.set_params((flat + 0.2 * rng.standard_normal(flat.shape)).astype(dtype))
    return engine


def in_double(inputs: Inputs) -> Inputs:
    return {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in inputs.items()}


def graph_of(inputs: Inputs) -> Inputs:
    return {name: inputs[name] for name in ("nodes", "indptr", "indices", "edge_features")}


SIZES = [
    {"dim": 3, "width": 1, "num_heads": 1, "num_layers": 1},
    {"dim": 7, "width": 6, "num_heads": 3, "num_layers": 2},
    {"dim": 24, "width": 17, "num_heads": 17, "num_layers": 1},
    {"dim": 33, "width": 54, "num_heads": 2, "num_layers": 3},
    {"dim": 40, "width": 32, "num_heads": 4, "num_layers": 0},
    {"dim": 384, "width": 32, "num_heads": 4, "num_layers": 2},
    {"dim": 384, "width": 384, "num_heads": 8, "num_layers": 1},
]


def everything(engine: GraphAttention, inputs: Inputs) -> list[np.ndarray]:
    """States, weights, attended vector, then the gradients of a random loss by inputs and by each parameter."""
    found, gradients = run_both_ways(engine, inputs)
    by_parameter = engine.views(gradients[0]).values()
    return [engine.encode(**graph_of(inputs)), found.weights, found.attended, *gradients[1:], *by_parameter]


class Case(NamedTuple):
    """The sizes of an engine, and of a graph for it."""

    dim: int
    width: int
    num_heads: int
    num_layers: int
    n: int
    num_edges: int

    def engine(self, dtype: type = np.float32) -> GraphAttention:
        sizes = {"width": self.width, "num_heads": self.num_heads, "num_layers": self.num_layers}
        return random_engine(self.dim, dtype=dtype, **sizes)

    def inputs(self) -> Inputs:
        return random_inputs(self.n, self.num_edges, dim=self.dim, features=(5, 3))


def run_both_ways(engine: GraphAttention, inputs: Inputs, seed: int = 5) -> tuple[Attention, tuple[np.ndarray, ...]]:
    """A pass and the gradients of a random linear loss of its results."""
    grad_weights, grad_attended = loss_of(engine, inputs, seed)
    found = engine.forward(**inputs, keep=True)
    assert found.tape is not None
    g = engine.backward(found.tape, grad_weights=grad_weights, grad_attended=grad_attended)
    return found, (g.params, g.nodes, g.edge_features, g.query, g.node_features)


def loss_of(engine: GraphAttention, inputs: Inputs, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, dim = inputs["nodes"].shape
    return rng.standard_normal(n).astype(engine.dtype), rng.standard_normal(dim).astype(engine.dtype)
