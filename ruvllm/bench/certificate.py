"""Does the certificate keep its word: how often the promised risk is exceeded, and what the promise costs.

Rows of recorded outcomes, to which every model answered, are cut in two by question: on a quarter a score is trained,
the rest is split again and again into calibration rows and disjoint test rows. Beside the certificate stands what is
usually done, the boldest threshold whose risk on the calibration rows is just within the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.bench.corpora import read_rows
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.router.certificate import Loss, certify, losses, routes, total_losses
from ruvllm.text.terms import terms

__all__ = ["RISKS", "Recorded", "Scorer", "Trial", "by_words", "read_recorded", "run", "trials", "word_scores"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RISKS = (0.02, 0.05, 0.1)
DRAWS = 200
CALIBRATION = 1000
TRAINED = 0.25  # share of the rows that the score is trained on
WORDS = 2048  # places that words are hashed to
RIDGE = 3.0
MOST_CALIBRATED = 0.25  # of the rows not trained on: the others must tell the true risk
WAYS = ("one", "first", "tuned")


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What the tiers did on n questions: quality (n, T) in [0, 1] and cost (n, T), the cheapest tier first.

    Without recorded costs a call of the largest tier costs 1 and the others nothing: cost is the share of its calls.
    """

    models: tuple[str, ...]
    texts: tuple[str, ...]
    quality: Floats
    cost: Floats


Scorer = Callable[[Recorded, Floats, Sequence[int], Sequence[int]], Floats]
"""Maps rows, what each tier lost on them, (n, T), the places to learn from and m other places to scores, (m, T)."""


def read_recorded(path: Path, models: Sequence[str] = ()) -> Recorded:
    """Return the rows of `path` that all `models` answered; of none given, the middle and the best by mean score.

    Raises:
        ValueError: a score is out of [0, 1], or fewer than two models or eight rows are left.
    """
    rows = list(read_rows(path, ("prompt", "score")))
    if not models:
        seen = sorted({name for row in rows for name in row["score"]})
        by_score = sorted(seen, key=lambda name: np.mean([row["score"][name] for row in rows if name in row["score"]]))
        models = [by_score[(len(by_score) - 1) // 2], by_score[-1]] if len(by_score) > 1 else by_score
    rows = [row for row in rows if all(row["score"].get(name) is not None for name in models)]
    if len(set(models)) < 2 or len(rows) < 8:
        raise ValueError(f"{path}: {len(set(models))} models on {len(rows)} common rows (2 and 8 needed)")
    quality = np.array([[row["score"][name] for name in models] for row in rows], np.float64)
    if not ((quality >= 0.0) & (quality <= 1.0)).all():
        raise ValueError(f"{path}: scores must be in [0, 1]")
    prices = [[row.get("cost_usd", {}).get(name, np.nan) for name in models] for row in rows]
    cost = np.array(prices, np.float64)
    if np.isnan(cost).any():
        cost = np.zeros(quality.shape)
        cost[:, -1] = 1.0
    texts = tuple(" ".join([row["prompt"], *(row.get("choices") or ())]) for row in rows)
    return Recorded(tuple(models), texts, quality, cost)


def by_words(recorded: Recorded, lost: Floats, taught: Sequence[int], asked: Sequence[int]) -> Floats:
    """Return `word_scores` of the rows `asked`, learnt from the rows `taught`."""
    texts = recorded.texts
    return word_scores([texts[i] for i in taught], lost[list(taught)], [texts[i] for i in asked])


def word_scores(texts: Sequence[str], lost: Floats, new: Sequence[str]) -> Floats:
    """Return 1 - the expected loss of each tier on each new text, (m, T), by ridge regression on hashed words."""
    known, asked = _hashed(texts), _hashed(new)
    rarity = np.log((1.0 + len(known)) / (1.0 + (known > 0.0).sum(axis=0))) + 1.0
    known, asked = (rows * rarity for rows in (known, asked))
    known, asked = (_unit(rows) for rows in (known, asked))
    mean = lost.mean(axis=0)
    dual = np.linalg.solve(known @ known.T + RIDGE * np.eye(len(known)), lost - mean)
    return np.asarray(1.0 - mean - asked @ (known.T @ dual))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def _hashed(texts: Sequence[str]) -> Floats:
    counts = [np.bincount((terms(text) % np.uint64(WORDS)).astype(np.int64), minlength=WORDS) for text in texts]
    return np.log1p(np.array(counts, np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Draws at one risk: of each way to set the threshold the risks and savings on the test rows, (draws,) each.

    The ways are "one", a certificate that is to stay the only one; "first", one that leaves room for recalibrations;
    and "tuned", the boldest threshold within the risk on the calibration rows. `resampled` holds the risks over all
    rows of certificates whose calibration rows were drawn from all rows with replacement: there the true risk is known,
    while test rows add noise of their own. Where a certificate is refused, all goes to the largest tier.
    """

    risk: float
    risks: Mapping[str, Floats]
    savings: Mapping[str, Floats]
    resampled: Floats

    def violations(self, way: str) -> float:
        """Return the share of draws whose risk on the test rows is over the promised one."""
        return float((self.risks[way] > self.risk).mean())


def trials(
    scores: Floats,
    quality: Floats,
    cost: Floats,
    *,
    floor: float = 0.8,
    risks: Sequence[float] = RISKS,
    confidence: float = 0.9,
    loss: Loss = "harm",
    rows: int = CALIBRATION,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Trial]:
    """Return what `draws` calibrations on `rows` of these rows come to on the others, for each risk.

    Test rows of an exact certificate go over the risk in P(Z > z sqrt(tested / n)) of the draws, z the normal quantile
    of delta, since they are fewer than all and hold what the calibration rows do not: 0.126 for delta 0.1 and a fifth
    calibrated.

    Args:
        scores: (n, T) from anything that was not trained on these rows.
        quality, cost: (n, T), the largest tier last.
    """
    n, rng = len(scores), np.random.default_rng(seed)
    if not 1 <= rows < n:
        raise ValueError(f"rows must leave some to test on ({rows} of {n})")
    lost = losses(quality, floor, loss)

    def threshold(known: Indices, risk: float, attempt: int) -> float:
        return certify(
            scores[known],
            quality[known],
            floor=floor,
            risk=risk,
            confidence=confidence,
            loss=loss,
            attempt=attempt,
        ).threshold

    def trial(risk: float) -> Trial:
        reached: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        resampled = []
        for _ in range(draws):
            known, test = np.split(rng.permutation(n), [rows])
            found = (threshold(known, risk, 0), threshold(known, risk, 1), _tuned(scores[known], lost[known], risk))
            for way, at in zip(WAYS, found, strict=True):
                reached[way].append(_reached(scores[test], lost[test], cost[test], at))
            resampled.append(_reached(scores, lost, cost, threshold(rng.integers(0, n, rows), risk, 0))[0])
        columns = {way: np.array(pairs).T for way, pairs in reached.items()}
        return Trial(
            risk,
            {way: column[0] for way, column in columns.items()},
            {way: column[1] for way, column in columns.items()},
            np.array(resampled),
        )

    return [trial(risk) for risk in risks]


def _tuned(scores: Floats, lost: Floats, risk: float) -> float:
    """Return the least threshold whose mean loss on these rows is within `risk`."""
    thresholds, totals = total_losses(scores, lost)
    return float(thresholds[np.flatnonzero(totals <= risk * len(lost) + 1e-9)[-1:]].min(initial=np.inf))


def _reached(scores: Floats, lost: Floats, cost: Floats, threshold: float) -> tuple[float, float]:
    """Return the mean loss and the share of the largest tier's cost that is saved."""
    at = np.arange(len(scores)), routes(scores, threshold)
    return float(lost[at].mean()), 1.0 - float(cost[at].sum() / cost[:, -1].sum())


def run(
    files: Sequence[Path],
    *,
    models: Sequence[str] = (),
    floor: float = 0.8,
    confidence: float = 0.9,
    loss: Loss = "harm",
    rows: int = CALIBRATION,
    draws: int = DRAWS,
    seed: int = 0,
    scorer: Scorer = by_words,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Report:
    """Return violations and savings on each file at each risk.

    Args:
        scorer: whose scores are certified; `router_scores.by_router` gives the router's own.

    Raises:
        ValueError: a file cannot be used.
    """
    report: list[Row] = []
    for number, path in enumerate(files, 1):
        recorded = read_recorded(path, models)
        lost = losses(recorded.quality, floor, loss)
        is_trained, pool = _cut(recorded.texts, seed)
        scores = scorer(recorded, lost, is_trained, pool)
        found = trials(
            scores,
            recorded.quality[pool],
            recorded.cost[pool],
            floor=floor,
            confidence=confidence,
            loss=loss,
            rows=min(rows, int(MOST_CALIBRATED * len(pool))),
            draws=draws,
            seed=seed,
        )
        name = path.name.split(".")[0]
        for trial in found:
            report += _rows(f"{name}, risk {trial.risk:g}", trial, delta=1.0 - confidence)
        on_progress("files", number, len(files))
    return make_report("certificate", report)


def _cut(texts: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Return the rows to train on and the others; rows of one text stay together."""
    _, question = np.unique(np.array(texts, object), return_inverse=True)
    count = int(question.max()) + 1
    trained = np.random.default_rng(seed).permutation(count) < TRAINED * count
    return np.flatnonzero(trained[question]).tolist(), np.flatnonzero(~trained[question]).tolist()


def _rows(name: str, trial: Trial, *, delta: float) -> list[Row]:
    allowed = delta + 1.645 * (delta * (1.0 - delta) / len(trial.resampled)) ** 0.5  # with chance, one-sided 95 %
    exceeded, apart = float((trial.resampled > trial.risk).mean()), trial.violations("one")
    saved = {way: float(saving.mean()) for way, saving in trial.savings.items()}
    rows = [
        Row(f"{name}, true risk over it", exceeded, "of draws", target=round(allowed, 3), met=exceeded <= allowed),
        Row(
            f"{name}, test rows over it",
            apart,
            "of draws",
            peers={"first of several": trial.violations("first"), "tuned": trial.violations("tuned")},
            target=round(allowed, 3),
            met=apart <= allowed,
        ),
        Row(
            f"{name}, saving",
            saved["one"],
            "of the largest tier's cost",
            peers={"first of several": saved["first"], "tuned": saved["tuned"]},
        ),
    ]
    if saved["tuned"] > 0.0:
        rows.append(Row(f"{name}, saving over the tuned", saved["one"] / saved["tuned"], "ratio"))
    if saved["one"] > 0.0:
        rows.append(Row(f"{name}, first of several", saved["first"] / saved["one"], "of the saving"))
    return rows
