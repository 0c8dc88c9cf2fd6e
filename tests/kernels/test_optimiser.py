"""One training step against a float64 twin, finite differences and torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ruvllm.kernels import adamw_step

EPS = float(np.finfo(np.float32).eps)
SIZES = [*range(1, 70), 255, 4096, 4097, 10_000]  # tails, and pieces of 256 vectors


def normal(n: int, seed: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


def state(n: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Parameters and moments as they are in the middle of training."""
    return {
        "params": normal(n, 0, dtype),
        "gradient": normal(n, 1, dtype),
        "first_moment": 0.1 * normal(n, 2, dtype),
        "second_moment": 0.1 * normal(n, 3, dtype) ** 2,
    }


def ewc(n: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {"anchor_params": normal(n, 4, dtype), "fisher_diagonal": normal(n, 5, dtype) ** 2}


def twin(
    arrays: dict[str, np.ndarray],
    *,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
    max_norm: float = math.inf,
    ewc_lambda: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """The step in float64, as the docstring says it."""
    a = {name: array.astype(np.float64) for name, array in arrays.items()}
    theta, g, penalty = a["params"], a["gradient"], 0.0
    if "anchor_params" in a:
        distance = theta - a["anchor_params"]
        g = g + ewc_lambda * a["fisher_diagonal"] * distance
        penalty = ewc_lambda / 2 * float((a["fisher_diagonal"] * distance**2).sum())
    norm = float(np.linalg.norm(g))
    g = g * min(1.0, max_norm / norm) if norm > 0 else g
    m, v = beta_1 * a["first_moment"] + (1 - beta_1) * g, beta_2 * a["second_moment"] + (1 - beta_2) * g**2
    corrected_m, corrected_v = m / (1 - beta_1**step), v / (1 - beta_2**step)
    theta = (1 - learning_rate * weight_decay) * theta - learning_rate * corrected_m / (np.sqrt(corrected_v) + epsilon)
    return theta, m, v, penalty, norm


def check_step(n: int, with_ewc: bool) -> None:
    arrays = state(n) | (ewc(n) if with_ewc else {})
    options: dict[str, Any] = {"step": 7, "learning_rate": 0.1, "max_norm": 0.5, "weight_decay": 0.2}
    if with_ewc:
        options["ewc_lambda"] = 0.7
    theta, m, v, penalty, norm = twin(arrays, **options)
    # g: a product of three with a rounded sum, scaled by a rounded norm; then at most 3 roundings in m, 4 in v
    g_error = (
        8
        * EPS
        * (
            np.abs(arrays["gradient"])
            + (
                np.abs(0.7 * arrays["fisher_diagonal"]) * (np.abs(arrays["params"]) + np.abs(arrays["anchor_params"]))
                if with_ewc
                else 0.0
            )
        )
    )
    m_error = 0.1 * g_error + 3 * EPS * (np.abs(arrays["first_moment"]) + np.abs(m))
    before = {name: array.copy() for name, array in arrays.items()}
    found = adamw_step(**arrays, **options)
    sum_error = 600 * EPS  # 256 terms a lane, and the roundings of each term, in a sum of positive ones
    assert abs(found.penalty - penalty) <= sum_error * max(penalty, 1.0)
    assert abs(found.gradient_norm - norm) <= sum_error * max(norm, 1.0)
    clip_error = sum_error * np.abs(m)
    assert np.all(np.abs(arrays["first_moment"] - m) <= m_error + clip_error)
    assert np.all(np.abs(arrays["second_moment"] - v) <= 2 * sum_error * v + 4 * EPS * before["second_moment"] + 1e-12)
    rate = 0.1 / (1 - 0.9**7) * math.sqrt(1 - 0.999**7)
    moved = (m_error + clip_error + 2 * sum_error * np.abs(m)) / np.sqrt(v)
    assert np.all(
        np.abs(arrays["params"] - theta) <= rate * moved + 4 * EPS * (np.abs(theta) + np.abs(before["params"]))
    )
    for name in before.keys() - {"params", "first_moment", "second_moment"}:
        np.testing.assert_array_equal(arrays[name], before[name])


@pytest.mark.parametrize("with_ewc", [False, True])
def test_a_step_matches_the_twin(isa: str, with_ewc: bool) -> None:
    for n in SIZES:
        check_step(n, with_ewc)


def test_float64_runs_the_definition() -> None:
    arrays = state(33, np.float64) | ewc(33, np.float64)
    theta, m, v, penalty, norm = twin(arrays, step=3, max_norm=1.0, ewc_lambda=0.4)
    found = adamw_step(**arrays, step=3, max_norm=1.0, ewc_lambda=0.4)
    for a, b in ((arrays["params"], theta), (arrays["first_moment"], m), (arrays["second_moment"], v)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found, (penalty, norm), rtol=1e-12)


def test_many_steps_match_torch(isa: str) -> None:
    torch = pytest.importorskip("torch")
    arrays = state(1000)
    arrays["first_moment"][:], arrays["second_moment"][:] = 0.0, 0.0
    theta = torch.nn.Parameter(torch.tensor(arrays["params"]))
    adamw = torch.optim.AdamW([theta], lr=0.01, weight_decay=0.1)
    for step in range(1, 21):
        arrays["gradient"] = normal(1000, 100 + step)
        found = adamw_step(**arrays, step=step, learning_rate=0.01, weight_decay=0.1, max_norm=20.0)
        theta.grad = torch.tensor(arrays["gradient"])
        norm = torch.nn.utils.clip_grad_norm_([theta], 20.0)
        adamw.step()
        assert abs(found.gradient_norm - float(norm)) <= 600 * EPS * found.gradient_norm
    # each step moves a parameter by about its rate; torch's clip adds 1e-6 to the norm, which Adam divides away again
    np.testing.assert_allclose(arrays["params"], theta.detach().numpy(), rtol=0, atol=20 * 0.01 * 100 * EPS)


def test_the_penalty_is_zero_at_the_anchor_and_not_one_step_away(isa: str) -> None:
    arrays = state(100)
    arrays |= {"anchor_params": arrays["params"].copy(), "fisher_diagonal": np.ones(100, np.float32)}
    assert adamw_step(**arrays, step=1, ewc_lambda=0.4).penalty == 0.0
    assert adamw_step(**arrays, step=2, ewc_lambda=0.4).penalty > 0.0


def test_the_gradient_of_the_penalty_by_finite_differences() -> None:
    """With beta_1 = 0 the first moment is the total gradient, here that of the penalty alone."""
    n, step = 12, 1e-6
    arrays = state(n, np.float64) | ewc(n, np.float64)
    arrays["gradient"][:] = 0.0
    theta = arrays["params"].copy()

    def run(params: np.ndarray) -> tuple[float, np.ndarray]:
        arrays["params"] = params.copy()
        penalty = adamw_step(**arrays, step=1, beta_1=0.0, ewc_lambda=0.7).penalty
        return penalty, arrays["first_moment"].copy()

    _, gradient = run(theta)
    for i in range(n):
        move = step * np.eye(n)[i]
        difference = (run(theta + move)[0] - run(theta - move)[0]) / (2 * step)
        assert abs(difference - gradient[i]) <= 1e-15 * 100 / step  # a parabola: only rounding of penalties below 100


def test_consolidation_pulls_towards_the_anchor(isa: str) -> None:
    arrays = state(50) | ewc(50)
    arrays["gradient"][:] = 0.0
    arrays["first_moment"][:] = 0.0
    arrays["fisher_diagonal"][:] = 1.0
    before = np.abs(arrays["params"] - arrays["anchor_params"])
    adamw_step(**arrays, step=1, weight_decay=0.0, ewc_lambda=1.0, learning_rate=1e-4)
    assert np.all(np.abs(arrays["params"] - arrays["anchor_params"]) < before)


def test_the_total_is_clipped_after_consolidation(isa: str) -> None:
    arrays = state(50) | ewc(50)
    found = adamw_step(**arrays, step=1, beta_1=0.0, max_norm=0.25, ewc_lambda=1.0)
    assert found.gradient_norm > 0.25
    assert abs(np.linalg.norm(arrays["first_moment"].astype(np.float64)) - 0.25) <= 600 * EPS


def test_a_zero_gradient_only_decays(isa: str) -> None:
    arrays = {name: np.zeros_like(array) for name, array in state(20).items()}
    arrays["params"][:] = 1.0
    assert adamw_step(**arrays, step=1, learning_rate=0.5, weight_decay=0.5, max_norm=1.0) == (0.0, 0.0)
    np.testing.assert_array_equal(arrays["params"], np.full(20, 0.75, np.float32))


def test_nothing_to_train_is_no_error(isa: str) -> None:
    assert adamw_step(**state(0), step=1) == (0.0, 0.0)


def test_unaligned_starts_give_the_same_bits(isa: str) -> None:
    straight = state(100)
    adamw_step(**straight, step=2)
    for offset in range(1, 16):
        shifted = {name: np.empty(100 + offset, np.float32)[offset:] for name in straight}
        for name, array in state(100).items():
            shifted[name][:] = array
        adamw_step(**shifted, step=2)
        for name, array in straight.items():
            np.testing.assert_array_equal(shifted[name], array)


def test_shared_memory_is_refused(isa: str) -> None:
    arrays = state(10) | ewc(10)
    for name, other in (("anchor_params", "params"), ("gradient", "params"), ("second_moment", "first_moment")):
        with pytest.raises(ValueError, match=f"{name} must not share memory with {other}"):
            adamw_step(**(arrays | {name: arrays[other]}), step=1, ewc_lambda=1.0)
    both = normal(19, 0)
    with pytest.raises(ValueError, match="anchor_params must not share memory with params"):
        adamw_step(**(arrays | {"params": both[:10], "anchor_params": both[9:]}), step=1)


def changed(name: str, value: float) -> dict[str, np.ndarray]:
    array = (state(20) | ewc(20))[name]
    array[17] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        *[(changed(name, np.nan), ValueError, f"{name} must be finite: entry 17") for name in state(1) | ewc(1)],
        *[(changed(name, -np.inf), ValueError, f"{name} must be finite: entry 17") for name in state(1) | ewc(1)],
        (changed("fisher_diagonal", -1e-9), ValueError, "fisher_diagonal must not be negative"),
        (changed("second_moment", -1.0), ValueError, "second_moment must not be negative"),
        (changed("gradient", 3e38), ValueError, "gradient must have a finite norm"),
        ({"gradient": np.zeros(19, np.float32)}, ValueError, r"gradient must have 20 entries \(19\)"),
        ({"gradient": np.zeros(20)}, ValueError, r"gradient must have dtype float32 \(float64\)"),
        ({"gradient": [0.0]}, TypeError, r"gradient must be a numpy array \(list\)"),
        ({"params": np.zeros((4, 5), np.float32)}, ValueError, r"params must have 1 dimensions \(2\)"),
        ({"params": np.zeros(40, np.float32)[::2]}, ValueError, "params must be C-contiguous"),
        ({"anchor_params": None}, ValueError, "anchor_params and fisher_diagonal must be given together"),
        ({"step": 0}, ValueError, r"step must be finite and >= 1.0 \(0.0\)"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be finite and >= 0"),
        ({"learning_rate": math.inf}, ValueError, "learning_rate must be finite"),
        ({"beta_1": 1.0}, ValueError, r"beta_1 must be in \[0.0, 1.0\) \(1.0\)"),
        ({"beta_2": math.nan}, ValueError, "beta_2 must be in"),
        ({"beta_2": 1.0 - 1e-9}, ValueError, "beta_2 must be in"),
        ({"epsilon": -1e-8}, ValueError, "epsilon must be"),
        ({"epsilon": 0.0}, ValueError, "epsilon must be"),
        ({"epsilon": 1e-60}, ValueError, "epsilon must be"),
        ({"learning_rate": 1e39}, ValueError, "learning_rate must be"),
        ({"weight_decay": 1e300}, ValueError, r"learning_rate \* weight_decay must be"),
        ({"ewc_lambda": 1e39}, ValueError, "ewc_lambda must be"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay must be"),
        ({"ewc_lambda": -0.1}, ValueError, "ewc_lambda must be"),
        ({"max_norm": 0.0}, ValueError, r"max_norm must be > 0 \(0.0\)"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    isa: str, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    arguments: dict[str, Any] = state(20) | ewc(20) | {"step": 1, "ewc_lambda": 1.0} | change
    before = {name: np.copy(value) for name, value in arguments.items() if isinstance(value, np.ndarray)}
    with pytest.raises(error, match=says):
        adamw_step(**arguments)
    for name, array in before.items():
        np.testing.assert_array_equal(arguments[name], array)


def test_read_only_parameters_are_refused() -> None:
    arrays = state(5)
    arrays["params"].setflags(write=False)
    with pytest.raises(ValueError, match="params must be writable"):
        adamw_step(**arrays, step=1)
