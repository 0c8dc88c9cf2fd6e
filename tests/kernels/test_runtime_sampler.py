"""The next token: a plain twin of transformers' processors, exact supports, and frequencies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.chi_square import chi_square, critical_value
from ruvllm.kernels import RuntimeSampler

EPS = float(np.finfo(np.float32).eps)
NOTHING = np.empty(0, np.int32)


def ids(*seen: int) -> np.ndarray:
    return np.array(seen, np.int32)


def penalised(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    found = logits.copy()
    for i in set(seen.tolist()) & set(range(len(logits))):
        found[i] = found[i] / np.float32(penalty) if found[i] > 0 else found[i] * np.float32(penalty)
    return found


def candidates(
    logits: np.ndarray,
    seen: np.ndarray = NOTHING,
    *,
    repetition_penalty: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> tuple[list[int], list[float]]:
    """Return the ids that are left, likeliest first and the lower one of equals, and their weights: 1 for the first."""
    scores = penalised(logits, seen, repetition_penalty).astype(np.float64)
    order = np.lexsort((np.arange(len(scores)), -scores)).tolist()
    weight_of = [math.exp((score - scores.max()) / float(np.float32(temperature))) for score in scores]
    if top_k > 0:
        order = order[:top_k]
    if top_p < 1.0:
        wanted = float(np.float32(top_p)) * sum(weight_of[i] for i in order)
        before = itertools.accumulate([0.0, *(weight_of[i] for i in order[:-1])])
        order = [i for i, reached in zip(order, before, strict=True) if reached < wanted]
    order = [i for i in order if weight_of[i] >= float(np.float32(min_p))]
    return order, [weight_of[i] for i in order]


def draw(
    count: int,
    logits: np.ndarray,
    seen: np.ndarray = NOTHING,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    **cuts: float,
) -> np.ndarray:
    sampler = RuntimeSampler(limit=len(logits), temperature=temperature, seed=seed, **cuts)  # type: ignore[arg-type]
    return np.array([sampler.choose(logits, seen)[0] for _ in range(count)])


def normal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n, dtype=np.float32)


def uniforms(seed: int) -> Iterator[float]:
    """Numbers in (0, 1) by xoshiro256++ from splitmix64, as the sampler makes them on every platform."""
    mask, state = 2**64 - 1, []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        state.append(z ^ (z >> 31))
    a, b, c, d = state

    def rotated(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & mask

    while True:
        yield (((rotated((a + d) & mask, 23) + a & mask) >> 12) + 0.5) / 2**52
        shifted, c, d = b << 17 & mask, c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ shifted, rotated(d, 45)


@pytest.mark.parametrize("n", [1, 2, 17, 33, 1000])
def test_greedy_takes_the_first_of_the_likeliest(n: int) -> None:
    for place in {0, n // 2, n - 1}:
        logits = normal(n)
        logits[[place, n - 1]] = 100
        assert RuntimeSampler(limit=n).choose(logits, NOTHING)[0] == place


def test_cuts_do_not_change_the_greedy_choice() -> None:
    logits = normal(50)
    sampler = RuntimeSampler(limit=50, temperature=0.0, top_k=3, top_p=0.5, min_p=0.5, seed=9)
    assert {sampler.choose(logits, NOTHING)[0] for _ in range(20)} == {int(logits.argmax())}


@settings(max_examples=60, deadline=None)
@given(
    eighths=st.lists(st.integers(-8, 8), min_size=1, max_size=8),
    seen=st.lists(st.integers(-2, 9), max_size=4),
    repetition_penalty=st.sampled_from([1.0, 1.1, 1.3, 0.9]),
    temperature=st.sampled_from([1.0, 1.5, 3.0]),
    top_k=st.integers(0, 9),
    top_p=st.floats(0.01, 1.0),
    min_p=st.floats(0.0, 1.0),
)
def test_exactly_the_candidates_are_drawn(
    eighths: list[int], seen: list[int], top_k: int, top_p: float, min_p: float, **others: float
) -> None:
    logits, cuts = np.array(eighths, np.float32) / 8, {"top_k": top_k, "top_p": top_p, "min_p": min_p}
    expected, _ = candidates(logits, ids(*seen), **cuts, **others)  # type: ignore[arg-type]
    # each has a probability above e^-2.6 / 8: 3,000 draws leave it out once in 1e12 times
    assert set(draw(3000, logits, ids(*seen), **cuts, **others).tolist()) == set(expected)


CUTS = [
    {},
    {"temperature": 0.6},
    {"temperature": 2.0, "repetition_penalty": 1.4},
    {"top_k": 5},
    {"top_p": 0.8},
    {"min_p": 0.2},
    {"temperature": 1.3, "repetition_penalty": 1.2, "top_k": 8, "top_p": 0.9, "min_p": 0.05},
]


@pytest.mark.parametrize("options", CUTS, ids=repr)
def test_candidates_are_drawn_as_often_as_they_should(options: dict[str, float]) -> None:
    logits, seen = normal(12), ids(3, 4, 11)
    order, weights = candidates(logits, seen, **options)  # type: ignore[arg-type]
    counts = np.bincount(draw(20_000, logits, seen, **options), minlength=12)[order]
    assert counts.sum() == 20_000
    assert chi_square(counts, 20_000 * np.array(weights) / sum(weights)) < critical_value(len(order) - 1)


@pytest.mark.parametrize("logits", [np.zeros(70_000, np.float32), normal(70_000), 3 * normal(300)], ids=len)
@pytest.mark.parametrize("cuts", [{"top_p": 0.999}, {"top_p": 0.5}, {"top_k": 200, "top_p": 0.9}], ids=repr)
def test_large_vocabularies_are_cut_exactly(logits: np.ndarray, cuts: dict[str, float]) -> None:
    order, weights = candidates(logits, **cuts)  # type: ignore[arg-type]
    reached = np.cumsum(weights)
    wanted = [reached[-1] * u for u in itertools.islice(uniforms(5), 20)]
    expected = np.array(order)[np.searchsorted(reached, wanted, side="right")]  # one token more or less shifts these
    np.testing.assert_array_equal(draw(20, logits, seed=5, **cuts), expected)


@pytest.mark.parametrize("options", [{}, *CUTS], ids=repr)
def test_the_only_token_is_certain(options: dict[str, float]) -> None:
    sampler = RuntimeSampler(limit=1, **({"temperature": 1.0} | options))  # type: ignore[arg-type]
    assert sampler.choose(np.array([-3.0], np.float32), NOTHING) == (0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_transformers_leaves_the_same_candidates(seed: int) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    logits, seen = normal(9, seed), ids(0, 5, 5, 8)
    for penalty, temperature, top_k, top_p, min_p in itertools.product(
        (1.0, 1.3), (1.5, 3.0), (4, 9), (0.6, 1.0), (0.0, 0.3)
    ):
        processors = transformers.LogitsProcessorList(
            [
                transformers.RepetitionPenaltyLogitsProcessor(penalty),
                transformers.TemperatureLogitsWarper(temperature),
                transformers.TopKLogitsWarper(top_k),
                transformers.TopPLogitsWarper(top_p),
                transformers.MinPLogitsWarper(min_p),
            ]
        )
        scores = processors(torch.tensor(seen[None].astype(np.int64)), torch.tensor(logits[None]))[0]
        probabilities = torch.softmax(scores.double(), -1).numpy()
        options = {
            "repetition_penalty": penalty,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
        }
        order, weights = candidates(logits, seen, **options)  # type: ignore[arg-type]
        assert sorted(order) == np.flatnonzero(probabilities).tolist()
        np.testing.assert_allclose(np.array(weights) / sum(weights), probabilities[order], rtol=1e-5)
        assert set(draw(1500, logits, seen, **options).tolist()) == set(order)


def test_an_id_is_penalised_once_however_often_it_was_seen() -> None:
    logits = np.array([1.0, -1.0, 0.5], np.float32)
    expected = penalised(logits, ids(0, 1), 2.0)
    assert expected.tolist() == [0.5, -2.0, 0.5]
    sampler = RuntimeSampler(limit=3, repetition_penalty=2.0)
    assert sampler.choose(logits, ids(0, 1, 0, 0, 1)) == sampler.choose(logits, ids(0, 1))
    assert sampler.choose(logits, ids(0, 1, 0))[1] == pytest.approx(logprobs(expected)[0], abs=4 * EPS)


@pytest.mark.parametrize("seen", [-1, 3, 2**31 - 1, -(2**31)])
def test_ids_out_of_range_are_not_penalised(seen: int) -> None:
    logits, sampler = normal(3), RuntimeSampler(limit=3, repetition_penalty=2.0)
    assert sampler.choose(logits, ids(seen)) == sampler.choose(logits, NOTHING)


def test_ids_from_the_limit_on_are_never_drawn() -> None:
    logits = np.array([0.0, 1.0, 2.0, 50.0, 60.0], np.float32)
    sampler = RuntimeSampler(limit=3, temperature=2.0)
    drawn = [sampler.choose(logits, NOTHING) for _ in range(500)]
    assert {i for i, _ in drawn} == {0, 1, 2}
    for i, logprob in drawn:
        assert logprob == pytest.approx(logprobs(logits[:3])[i], abs=4 * EPS)


def logprobs(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float64)
    return values - values.max() - np.log(np.exp(values - values.max()).sum())


def test_the_log_probability_is_that_after_the_penalty_and_before_temperature_and_cuts() -> None:
    logits, seen = 3 * normal(100), ids(4, 5, 6)
    expected = logprobs(penalised(logits, seen, 1.3))
    sampler = RuntimeSampler(limit=100, temperature=0.7, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.3)
    for i, logprob in (sampler.choose(logits, seen) for _ in range(200)):
        assert abs(logprob - expected[i]) <= (100 + 6 + 20) * EPS  # of the sum and of the exponentials' arguments


def test_minus_infinity_is_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0], np.float32)
    assert set(draw(500, logits, ids(0, 1), repetition_penalty=1.5, temperature=3.0).tolist()) == {1, 3}


def test_the_same_seed_draws_the_same() -> None:
    logits = normal(100)
    np.testing.assert_array_equal(draw(50, logits, seed=3), draw(50, logits, seed=3))
    for other in (0, 4, 3 + 2**63, -3):
        assert (draw(50, logits, seed=3) != draw(50, logits, seed=other)).any()


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.9}], ids=repr)
@pytest.mark.parametrize(
    ("logits", "says"),
    [
        ([0.0, math.nan, 1.0], "logits must not hold a NaN"),
        ([0.0, math.inf, 1.0], "logits must not hold a NaN or .infinity"),
        ([-math.inf] * 3, "must leave a token"),
        ([], "logits must hold an entry"),
    ],
)
def test_logits_that_leave_no_choice_are_refused(options: dict[str, float], logits: list[float], says: str) -> None:
    sampler = RuntimeSampler(limit=3, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=says):
        sampler.choose(np.array(logits, np.float32), NOTHING)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RuntimeSampler(limit=0), r"limit must be >= 1 \(0\)"),
        (lambda: RuntimeSampler(limit=3, temperature=-0.1), r"temperature must be >= 0 and finite \(-0.1\)"),
        (lambda: RuntimeSampler(limit=3, temperature=math.inf), r"temperature must be >= 0 and finite \(inf\)"),
        (lambda: RuntimeSampler(limit=3, temperature=math.nan), r"temperature must be >= 0 and finite \(nan\)"),
        (lambda: RuntimeSampler(limit=3, top_k=-1), r"top_k must be >= 0 \(-1\)"),
        (lambda: RuntimeSampler(limit=3, top_p=0.0), r"top_p must be in \(0, 1\] \(0.0\)"),
        (lambda: RuntimeSampler(limit=3, min_p=1.1), r"min_p must be in \[0, 1\] \(1.1\)"),
        (lambda: RuntimeSampler(limit=3, repetition_penalty=0.0), r"repetition_penalty must be > 0 and finite \(0.0\)"),
    ],
)
def test_bad_options_are_refused_by_name(make: Callable[[], RuntimeSampler], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_a_temperature_beyond_float32_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature must be >= 0 and finite \(1e\+39\)"):
        RuntimeSampler(limit=4, temperature=1e39)
