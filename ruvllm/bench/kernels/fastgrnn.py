"""The router's cell, 128 -> 64: one step from Python, a routing decision, batches and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race
from ruvllm.kernels import FastGrnn, keep_largest

__all__ = [
    "backward_peers",
    "batch_peers",
    "decision_peers",
    "make_batch",
    "make_model",
    "make_step",
    "one_decision",
    "rows",
    "step_peers",
]

INPUTS, HIDDEN, U_RANK, OUTPUTS = 128, 64, 8, 12
NUM_SEQUENCES, NUM_STEPS = 256, 8


def rows() -> Iterator[Row]:
    """Yield the times of the default router, dense unless a row says otherwise."""
    dense, sparse, (x, h) = make_model(), make_model(w_density=0.1), make_step()
    multiply_adds = INPUTS * HIDDEN + 2 * HIDDEN * U_RANK + HIDDEN * OUTPUTS
    floor_s = ceilings().floor_s(flops=2 * multiply_adds)
    name = "FastGRNN step 128 -> 64 with heads, from Python"
    yield race(name, lambda: dense.step(x, h), step_peers(), target=3.0, floor_s=floor_s)
    tiny, one = FastGrnn(1, 1, u_rank=1, heads=()), np.zeros(1, np.float32)
    call = race("the call alone: a step 1 -> 1", lambda: tiny.step(one, one), {})
    yield call
    step = race("", lambda: dense.step(x, h), {})
    inside = step.value - call.value
    yield Row("FastGRNN step, less the call", inside, "us", floor=floor_s * 1e6, target=0.5, met=inside <= 0.5)
    yield race("FastGRNN step, a tenth of W", lambda: sparse.step(x, h), {"ours, dense W": lambda: dense.step(x, h)})
    int8 = sparse.quantize()
    yield race(
        "FastGRNN step, a tenth of W in int8", lambda: int8.step(x, h), {"ours, float32": lambda: sparse.step(x, h)}
    )
    size = int8.weight_bytes / 1024
    yield Row("weights of the int8 router", size, "KiB", target=6.0, met=size <= 6.0)
    yield race("one routing decision, features given", lambda: one_decision(dense, x, h), decision_peers(), target=5.0)

    batch_x, h_0, d_hidden = make_batch()
    first_x = np.ascontiguousarray(batch_x[:, 0])
    for label, model in (("", dense), (", a tenth of W", sparse)):
        _, _, tape = model.forward_with_tape(batch_x, h_0)
        backward_adds = INPUTS * HIDDEN + 4 * HIDDEN * U_RANK  # dW, dU1, dU2 and d_h through both
        yield race(
            f"FastGRNN batch of 256 steps{label}",
            lambda model=model: model.step_batch(first_x, h_0),  # type: ignore[misc]
            batch_peers(),
            target_ratio=0.2,
            floor_s=ceilings().floor_s(flops=2.0 * multiply_adds * NUM_SEQUENCES) if model is dense else None,
        )
        yield race(
            f"FastGRNN backward, 256 sequences of 8{label}",
            lambda tape=tape: tape.backward(d_hidden=d_hidden),  # type: ignore[misc]
            backward_peers(),
            target_ratio=0.2,
            floor_s=(
                ceilings().floor_s(flops=2.0 * backward_adds * NUM_SEQUENCES * NUM_STEPS) if model is dense else None
            ),
        )


def make_model(*, w_density: float = 1.0) -> FastGrnn:
    """Return the default router with random weights, W sparse when `w_density` is below 1."""
    rng = np.random.default_rng(0)
    support = keep_largest(rng.standard_normal((HIDDEN, INPUTS)), w_density) if w_density < 1.0 else None
    model = FastGrnn(INPUTS, HIDDEN, u_rank=U_RANK, w_support=support)
    model.set_params(model.initial_params(rng))
    return model


def make_step() -> tuple[np.ndarray, np.ndarray]:
    """Return x (128,) and h (64,)."""
    rng = np.random.default_rng(1)
    return rng.standard_normal(INPUTS, np.float32), rng.standard_normal(HIDDEN, np.float32)


def make_batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (256, 8, 128), h_0 (256, 64) and a gradient of every state (256, 8, 64)."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((NUM_SEQUENCES, NUM_STEPS, INPUTS), np.float32)
    h_0 = rng.standard_normal((NUM_SEQUENCES, HIDDEN), np.float32)
    return x, h_0, rng.standard_normal((NUM_SEQUENCES, NUM_STEPS, HIDDEN), np.float32)


def one_decision(model: FastGrnn, x: np.ndarray, h: np.ndarray) -> int:
    """Return the tier: cell, heads, argmax."""
    _, outputs = model.step(x, h)
    return int(outputs[:4].argmax())


def step_peers() -> dict[str, Call]:
    """Return one step of a recurrent cell of this size, without heads, on one thread."""
    x, h = make_step()
    rng = np.random.default_rng(3)
    w, u = rng.standard_normal((HIDDEN, INPUTS), np.float32), rng.standard_normal((HIDDEN, HIDDEN), np.float32)
    bias_gate, bias_update = rng.standard_normal((2, HIDDEN), np.float32)

    def numpy_step() -> np.ndarray:
        a = w @ x + u @ h
        z = 1 / (1 + np.exp(-(a + bias_gate)))
        result: np.ndarray = (np.float32(0.9) * (1 - z) + np.float32(0.1)) * np.tanh(a + bias_update) + z * h
        return result

    calls: dict[str, Call] = {"NumPy FastGRNN": numpy_step}
    if (torch := peer("torch")) is not None:
        torch.set_num_threads(1)
        cell, inputs, state = torch.nn.GRUCell(INPUTS, HIDDEN).eval(), torch.tensor(x)[None], torch.tensor(h)[None]
        calls["torch GRUCell"] = torch.inference_mode()(lambda: cell(inputs, state))
    if (session := _onnx_gru()) is not None:
        calls["onnxruntime GRU"] = lambda: session(x, h)
    return calls


def _onnx_gru() -> Callable[[np.ndarray, np.ndarray], object] | None:
    onnx, runtime = peer("onnx"), peer("onnxruntime")
    if onnx is None or runtime is None:
        return None
    helper, kind, rng = onnx.helper, onnx.TensorProto.FLOAT, np.random.default_rng(4)
    shapes = {"W": (1, 3 * HIDDEN, INPUTS), "R": (1, 3 * HIDDEN, HIDDEN), "B": (1, 6 * HIDDEN)}
    graph = helper.make_graph(
        [helper.make_node("GRU", ["X", "W", "R", "B", "", "H"], ["", "Y"], hidden_size=HIDDEN, linear_before_reset=1)],
        "gru",
        [helper.make_tensor_value_info(n, kind, [1, 1, size]) for n, size in (("X", INPUTS), ("H", HIDDEN))],
        [helper.make_tensor_value_info("Y", kind, [1, 1, HIDDEN])],
        [onnx.numpy_helper.from_array(rng.standard_normal(s, np.float32), n) for n, s in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8  # what older runtimes read too
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x, h: session.run(None, {"X": x[None, None], "H": h[None, None]})


def batch_peers() -> dict[str, Call]:
    """Return one step of the same cell and heads over 256 rows in eager torch, one thread."""
    if (unrolled := _torch_cell()) is None:
        return {}
    torch = peer("torch")
    assert torch is not None
    x, h_0, _ = make_batch()
    first, state = torch.tensor(x[:, :1].copy()), torch.tensor(h_0)
    heads = torch.nn.Linear(HIDDEN, OUTPUTS)

    def step() -> tuple[Any, ...]:
        with torch.inference_mode():
            hidden = unrolled(first, state)[:, 0]
            tier, context, others = heads(hidden).split((4, 5, 3), dim=1)
            return hidden, tier.softmax(1), context.softmax(1), others.sigmoid()

    return {"torch, the same cell": step}


def backward_peers() -> dict[str, Call]:
    """Return autograd's backward of the same cell over 256 sequences of 8, one thread."""
    if (unrolled := _torch_cell()) is None:
        return {}
    torch = peer("torch")
    assert torch is not None
    x, h_0, d_hidden = (torch.tensor(array) for array in make_batch())
    hidden = unrolled(x, h_0)
    return {"torch, the same cell": lambda: hidden.backward(d_hidden, retain_graph=True)}


def _torch_cell() -> Callable[[Any, Any], Any] | None:
    """Return the dense cell with U of low rank, unrolled over the steps of x; its parameters want gradients."""
    if (torch := peer("torch")) is None:
        return None
    torch.set_num_threads(1)
    model = make_model()
    p = {name: torch.tensor(view, requires_grad=True) for name, view in model.views(model.params()).items()}

    def unrolled(x: Any, h: Any) -> Any:
        states = []
        zeta, nu = torch.sigmoid(p["zeta_raw"]), torch.sigmoid(p["nu_raw"])
        for t in range(x.shape[1]):
            a = x[:, t] @ p["w"].T + (h @ p["u2"]) @ p["u1"].T
            z, c = torch.sigmoid(a + p["bias_gate"]), torch.tanh(a + p["bias_update"])
            h = (zeta * (1 - z) + nu) * c + z * h
            states.append(h)
        return torch.stack(states, 1)

    return unrolled


def decision_peers() -> dict[str, Call]:
    """Return a choice among four tiers from the same 128 features."""
    x, _ = make_step()
    rng = np.random.default_rng(5)
    inverse, theta = np.stack([np.eye(INPUTS)] * 4), rng.standard_normal((4, INPUTS))

    def lin_ucb() -> int:
        return int(np.argmax(theta @ x + 0.5 * np.sqrt(((inverse @ x) * x).sum(axis=1))))

    calls: dict[str, Call] = {"NumPy LinUCB": lin_ucb}
    if peer("sklearn") is not None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier

        features, labels, one = rng.standard_normal((400, INPUTS), np.float32), rng.integers(0, 4, 400), x[np.newaxis]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # neither converges in so few rounds, which their speed does not mind
            linear = LogisticRegression(max_iter=20).fit(features, labels)
            network = MLPClassifier((HIDDEN,), max_iter=5).fit(features, labels)
        calls["sklearn LogisticRegression"] = lambda: linear.predict_proba(one).argmax()
        calls["sklearn MLPClassifier"] = lambda: network.predict_proba(one).argmax()
    return calls
