"""What graph attention refuses, and what it then leaves as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.attention_cases import (
    graph_of,
    random_engine,
    random_inputs,
)
from ruvllm.kernels import GraphAttention


# what overflows: a product, a score where two infinities meet, and the variance of a row, which leaves finite numbers
@pytest.mark.parametrize(("name", "size"), [("nodes", 3e38), ("nodes", 1e20), ("query", 3e38)])
def test_finite_numbers_that_overflow_are_refused(isa: str, name: str, size: float) -> None:
    engine, inputs = random_engine(16), random_inputs(20, 60, dim=16, features=(5, 3))
    inputs[name] = np.sign(inputs[name]) * np.float32(size)
    with pytest.raises(ValueError, match=r"nodes, .* parameters must not overflow float32"):
        engine.forward(**inputs)
    if name == "nodes":
        with pytest.raises(ValueError, match="must not overflow float32"):
            engine.encode(**graph_of(inputs))


GOOD = random_inputs(4, 6, dim=8, features=(5, 3))


def with_entry(name: str, place: object, value: float) -> np.ndarray:
    changed = GOOD[name].copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"nodes": np.empty((0, 8), np.float32)}, ValueError, r"nodes must have at least 1 row \(0\)"),
        ({"nodes": GOOD["nodes"].tolist()}, TypeError, r"nodes must be a numpy array \(list\)"),
        ({"nodes": GOOD["nodes"].astype(np.float64)}, ValueError, r"nodes must have dtype float32 \(float64\)"),
        ({"nodes": GOOD["nodes"][0]}, ValueError, r"nodes must have 2 dimensions \(1\)"),
        ({"nodes": GOOD["nodes"][:, :7].copy()}, ValueError, r"nodes must have 8 columns \(7\)"),
        ({"nodes": np.asfortranarray(GOOD["nodes"])}, ValueError, "nodes must be C-contiguous"),
        ({"nodes": with_entry("nodes", (2, 7), np.nan)}, ValueError, r"nodes\[2\] must be finite"),
        ({"indptr": GOOD["indptr"][:-1]}, ValueError, r"indptr must have 5 entries \(4\)"),
        ({"indptr": GOOD["indptr"].astype(np.int32)}, ValueError, r"indptr must have dtype int64 \(int32\)"),
        ({"indptr": with_entry("indptr", 0, 1)}, ValueError, "indptr must start with 0"),
        ({"indptr": with_entry("indptr", 1, 99)}, ValueError, "indptr must ascend"),
        ({"indptr": with_entry("indptr", 4, 7)}, ValueError, r"indptr must end with 6.*\(7\)"),
        ({"indices": with_entry("indices", 5, 4)}, ValueError, r"indices\[5\] must be in \[0, 4\) \(4\)"),
        ({"indices": with_entry("indices", 0, -1)}, ValueError, r"indices\[0\] must be in \[0, 4\) \(-1\)"),
        ({"indices": GOOD["indices"].astype(np.int64)}, ValueError, r"indices must have dtype int32 \(int64\)"),
        ({"edge_features": GOOD["edge_features"][:5]}, ValueError, r"edge_features must have 6 rows \(5\)"),
        ({"edge_features": GOOD["edge_features"][:, :4].copy()}, ValueError, r"edge_features must have 5 columns"),
        ({"edge_features": with_entry("edge_features", (3, 0), np.inf)}, ValueError, r"edge_features\[3\] must be fin"),
        ({"query": GOOD["query"][:7]}, ValueError, r"query must have 8 entries \(7\)"),
        ({"query": with_entry("query", 7, np.nan)}, ValueError, "query must be finite"),
        ({"hops": GOOD["hops"][:3]}, ValueError, r"hops must have 4 entries \(3\)"),
        ({"hops": with_entry("hops", 3, -1)}, ValueError, r"hops\[3\] must be >= 0 \(-1\)"),
        ({"hops": GOOD["hops"].astype(np.int64)}, ValueError, r"hops must have dtype int32 \(int64\)"),
        ({"node_features": GOOD["node_features"][:, :2].copy()}, ValueError, r"node_features must have 3 columns"),
        ({"node_features": with_entry("node_features", (0, 0), np.nan)}, ValueError, r"node_features\[0\] must be fi"),
        ({"node_features": None}, TypeError, "node_features must be a numpy array"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, Any], error: type[Exception], says: str) -> None:
    engine = random_engine(8)
    with pytest.raises(error, match=says):
        engine.forward(**(GOOD | change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dim": 0}, r"dim must be in \[1, 65536\] \(0\)"),
        ({"dim": 10**9}, r"dim must be in \[1, 65536\]"),
        ({"width": 30}, r"width must be a multiple of num_heads, 4 \(30\)"),
        ({"num_heads": 0}, r"num_heads must be in \[1"),
        ({"num_layers": -1}, r"num_layers must be in \[0"),
        ({"num_edge_features": -1}, r"num_edge_features must be in \[0"),
        ({"num_node_features": -1}, r"num_node_features must be in \[0"),
        ({"num_hop_biases": 0}, r"num_hop_biases must be in \[1"),
        ({"dim": 65536, "width": 65536, "num_layers": 65536}, "dim, width, num_layers must make at most 134217728"),
        ({"dtype": np.float16}, r"dtype must be float32 or float64 \(float16\)"),
    ],
)
def test_bad_sizes_are_refused_by_name(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GraphAttention(**({"dim": 8, "num_edge_features": 2, "num_node_features": 2} | change))


def test_bad_parameters_leave_the_old_ones() -> None:
    engine = random_engine(8)
    before = engine.params()
    for bad, says in (
        (before[:-1], "params must have"),
        (before.astype(np.float64), "params must have dtype"),
        (np.full_like(before, np.nan), "params must be finite"),
    ):
        with pytest.raises(ValueError, match=says):
            engine.set_params(bad)
    np.testing.assert_array_equal(engine.params(), before)
    with pytest.raises(ValueError, match="flat must be contiguous with shape"):
        engine.views(before[1:])


def test_bad_gradients_are_refused_by_name() -> None:
    engine = random_engine(8)
    tape = engine.forward(**GOOD, keep=True).tape
    assert tape is not None
    with pytest.raises(ValueError, match=r"grad_weights must have 4 entries \(3\)"):
        engine.backward(tape, grad_weights=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="grad_attended must be finite"):
        engine.backward(tape, grad_attended=np.full(8, np.inf, np.float32))
    with pytest.raises(ValueError, match="tape must come from an engine of the same sizes"):
        random_engine(8, num_layers=1).backward(tape)
