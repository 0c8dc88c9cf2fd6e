"""Graph attention over 50 nodes and 100 edges of 384 dimensions: a full layer, one query, and the default engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race
from ruvllm.kernels import GraphAttention
from ruvllm.kernels.probe import read_bandwidth

__all__ = ["Case", "default_engine", "full_layer", "layer_peers", "make_case", "one_query", "query_peers", "rows"]

N, NUM_EDGES, DIM, NUM_HEADS = 50, 100, 384, 8
HEAD_DIM = DIM // NUM_HEADS
NUM_EDGE_FEATURES, NUM_NODE_FEATURES = 16, 4


@dataclass(frozen=True, slots=True)
class Case:
    """One subgraph, with the arguments of `GraphAttention.forward` in order."""

    nodes: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    edge_features: np.ndarray
    query: np.ndarray
    hops: np.ndarray
    node_features: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(NUM_EDGES,) the node each edge belongs to."""
        return np.repeat(np.arange(N), np.diff(self.indptr))


def make_case(seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    edge_rows = np.sort(rng.integers(0, N, NUM_EDGES))
    return Case(
        nodes=rng.standard_normal((N, DIM), dtype=np.float32),
        indptr=np.searchsorted(edge_rows, np.arange(N + 1)).astype(np.int64),
        indices=rng.integers(0, N, NUM_EDGES).astype(np.int32),
        edge_features=rng.standard_normal((NUM_EDGES, NUM_EDGE_FEATURES), dtype=np.float32),
        query=rng.standard_normal(DIM, dtype=np.float32),
        hops=rng.integers(0, 3, N).astype(np.int32),
        node_features=rng.standard_normal((N, NUM_NODE_FEATURES), dtype=np.float32),
    )


def rows() -> Iterator[Row]:
    """Yield the layer, the readout and the default engine, each on one thread."""
    case, machine = make_case(), ceilings()
    weight_bytes = 4 * DIM * DIM * 4
    yield race(
        f"graph attention layer, {N} nodes, {NUM_EDGES} edges, d {DIM}, {NUM_HEADS} heads, q k v o",
        full_layer(case),
        layer_peers(case),
        target=350.0,
        floor_s=machine.floor_s(flops=2 * N * DIM * 4 * DIM),
    )
    yield race(
        "graph attention, one query, projections folded",
        one_query(case),
        query_peers(case),
        target=50.0,
        floor_s=weight_bytes / read_bandwidth(weight_bytes),  # from whichever cache holds that much
    )
    width, num_layers = 32, 2
    yield race(
        f"graph attention, default engine: width {width}, {num_layers} layers, readout",
        default_engine(case),
        {},
        target=80.0,
        floor_s=machine.floor_s(flops=num_layers * 2 * N * DIM * 4 * width),
    )


def _engine(num_layers: int, *, width: int = 32, num_heads: int = 4) -> GraphAttention:
    engine = GraphAttention(
        DIM,
        num_edge_features=NUM_EDGE_FEATURES,
        num_node_features=NUM_NODE_FEATURES,
        width=width,
        num_heads=num_heads,
        num_layers=num_layers,
    )
    engine.set_params(engine.initial_params(np.random.default_rng(1)))
    return engine


def full_layer(case: Case) -> Call:
    """One layer of full width with residual and layer norm."""
    engine = _engine(1, width=DIM, num_heads=NUM_HEADS)
    return lambda: engine.encode(case.nodes, case.indptr, case.indices, case.edge_features)


def one_query(case: Case) -> Call:
    """The readout of full width alone, with its ranking."""
    engine = _engine(0, width=DIM, num_heads=NUM_HEADS)
    return _forward(engine, case)


def default_engine(case: Case) -> Call:
    return _forward(_engine(2), case)


def _forward(engine: GraphAttention, case: Case) -> Call:
    return lambda: engine.forward(
        case.nodes, case.indptr, case.indices, case.edge_features, case.query, case.hops, case.node_features
    )


def layer_peers(case: Case) -> dict[str, Call]:
    """What others offer for a layer. GATv2Conv projects twice, the rest four times; none adds residual or norm."""
    torch = peer("torch")
    if torch is None:
        return {}
    torch.set_num_threads(1)
    x, features = torch.from_numpy(case.nodes), torch.from_numpy(case.edge_features)
    source, target = torch.from_numpy(case.indices).long(), torch.from_numpy(case.rows)
    w_q, w_k, w_v, w_o = (torch.randn(DIM, DIM) * DIM**-0.5 for _ in range(4))
    edge_bias = torch.randn(NUM_EDGE_FEATURES, NUM_HEADS) * 0.1
    mask = torch.full((1, NUM_HEADS, N, N), float("-inf"))
    mask[0, :, range(N), range(N)] = 0.0
    mask[0, :, target, source] = (features @ edge_bias).T

    def dense() -> object:
        with torch.inference_mode():
            q, k, v = ((x @ w).view(1, N, NUM_HEADS, HEAD_DIM).transpose(1, 2) for w in (w_q, w_k, w_v))
            heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return heads.transpose(1, 2).reshape(N, DIM) @ w_o

    def scattered() -> object:
        with torch.inference_mode():
            q, k, v = ((x @ w).view(N, NUM_HEADS, HEAD_DIM) for w in (w_q, w_k, w_v))
            scores = (q[target] * k[source]).sum(-1) * HEAD_DIM**-0.5 + features @ edge_bias
            index = target[:, None].expand_as(scores)
            largest = torch.full((N, NUM_HEADS), -torch.inf).scatter_reduce_(0, index, scores, "amax")
            powers = (scores - largest[target]).exp()
            totals = torch.zeros(N, NUM_HEADS).index_add_(0, target, powers)
            messages = (powers / totals[target])[..., None] * v[source]
            return torch.zeros(N, NUM_HEADS, HEAD_DIM).index_add_(0, target, messages).view(N, DIM) @ w_o

    peers: dict[str, Call] = {"torch, dense SDPA with a mask": dense, "torch, scattered by hand": scattered}
    geometric = peer("torch_geometric.nn")
    if geometric is not None:
        edges = torch.stack([source, target])
        sizes = {"heads": NUM_HEADS, "edge_dim": NUM_EDGE_FEATURES}
        gat = geometric.GATv2Conv(DIM, HEAD_DIM, add_self_loops=False, **sizes).eval()
        transformer = geometric.TransformerConv(DIM, HEAD_DIM, **sizes).eval()

        def run(layer: Callable[..., object]) -> object:
            with torch.inference_mode():
                return layer(x, edges, features)

        peers |= {
            "torch_geometric GATv2Conv": lambda: run(gat),
            "torch_geometric TransformerConv": lambda: run(transformer),
        }
    return peers


def query_peers(case: Case) -> dict[str, Call]:
    """One query over the nodes in torch: projecting all of them, and folded by hand as ours."""
    torch = peer("torch")
    if torch is None:
        return {}
    torch.set_num_threads(1)
    x, query = torch.from_numpy(case.nodes), torch.from_numpy(case.query)[None]
    w_q, w_k, w_v, w_o = (torch.randn(DIM, DIM) * DIM**-0.5 for _ in range(4))
    k_heads = w_k.view(DIM, NUM_HEADS, HEAD_DIM).permute(1, 2, 0).contiguous()  # (heads, head_dim, d)
    v_heads = w_v.view(DIM, NUM_HEADS, HEAD_DIM).permute(1, 0, 2).contiguous()  # (heads, d, head_dim)

    def projected() -> object:
        with torch.inference_mode():
            q = (query @ w_q).view(1, NUM_HEADS, HEAD_DIM)
            k, v = (x @ w_k).view(N, NUM_HEADS, HEAD_DIM), (x @ w_v).view(N, NUM_HEADS, HEAD_DIM)
            scores = torch.einsum("qhd,nhd->hn", q, k) * HEAD_DIM**-0.5
            return torch.einsum("hn,nhd->hd", scores.softmax(-1), v).reshape(1, DIM) @ w_o

    def folded() -> object:
        with torch.inference_mode():
            q = (query @ w_q).view(NUM_HEADS, 1, HEAD_DIM)
            seen = torch.bmm(q, k_heads).view(NUM_HEADS, DIM) * HEAD_DIM**-0.5
            pooled = (seen @ x.T).softmax(-1) @ x
            return torch.bmm(pooled[:, None], v_heads).view(1, DIM) @ w_o

    return {"torch, all nodes projected": projected, "torch, folded by hand": folded}
