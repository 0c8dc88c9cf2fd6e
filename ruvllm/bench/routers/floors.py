"""What a router must beat: each learns what every model scores from a table and predicts it for questions not seen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ruvllm.bench.routers.table import Floats, Table, rows_of

__all__ = ["FLOORS", "RANDOM", "Fit", "Router", "probe_ridge", "sklearn"]

RANDOM = "random"
SHRINKAGE = 10.0  # rows that the wider mean counts as
NEIGHBOURS = 50


class Router(Protocol):
    """What has learnt to predict what models score."""

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality; what the models scored on these questions is not looked at."""
        ...


Fit = Callable[[Table, int], Router]  # of the rows to learn from and a seed


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A regressor of scikit-learn over features of a table."""

    regressor: Any
    features: Callable[[Table], Any]

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality."""
        return np.asarray(self.regressor.predict(self.features(questions)), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Mean quality over all rows, and by benchmark and subject: what is not in the table is told by what holds it."""

    overall: Floats
    by_benchmark: Mapping[str, Floats]
    by_subject: Mapping[tuple[str, str], Floats]

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality."""
        both = zip(questions.benchmarks, questions.subjects, strict=True)
        return np.array([self.by_subject.get(key, self.by_benchmark.get(key[0], self.overall)) for key in both])


def sklearn(part: str) -> ModuleType:
    """Return a part of scikit-learn.

    Raises:
        ValueError: it is not installed; the message says how it is.
    """
    try:
        return importlib.import_module(f"sklearn.{part}")
    except ImportError as error:
        raise ValueError("the bench of routers needs scikit-learn: pip install 'ruvllm[bench]'") from error


def tier_means(train: Table, seed: int) -> Router:
    """Predict each model's mean: any order of the questions is as good as another, and the best single model wins."""
    return Means(train.outcomes.quality.mean(axis=0), {}, {})


def topic_table(train: Table, seed: int) -> Router:
    """Predict each model's mean on the subject, drawn towards that on the benchmark, and that towards the whole."""
    quality = train.outcomes.quality
    overall = quality.mean(axis=0)
    by_benchmark = {name: _drawn(quality[rows], overall) for name, rows in rows_of(train.benchmarks).items()}
    both = rows_of(list(zip(train.benchmarks, train.subjects, strict=True)))
    by_subject = {key: _drawn(quality[rows], by_benchmark[key[0]]) for key, rows in both.items()}
    return Means(overall, by_benchmark, by_subject)


def prompt_length(train: Table, seed: int) -> Router:
    """Predict from the logarithm of the prompt's length, by a straight line."""
    return Fitted(sklearn("linear_model").LinearRegression().fit(_length(train), train.outcomes.quality), _length)


def text_ridge(train: Table, seed: int) -> Router:
    """Predict by ridge regression over TF-IDF of words and pairs of words."""
    tfidf = sklearn("feature_extraction.text").TfidfVectorizer(min_df=2, ngram_range=(1, 2), sublinear_tf=True)
    features = tfidf.fit_transform(train.outcomes.texts)
    ridge = sklearn("linear_model").Ridge(alpha=3.0).fit(features, train.outcomes.quality)
    return Fitted(ridge, lambda questions: tfidf.transform(questions.outcomes.texts))


def embedding_ridge(train: Table, seed: int) -> Router:
    """Predict by ridge regression over embeddings."""
    ridge = sklearn("linear_model").Ridge(alpha=10.0).fit(train.outcomes.vectors, train.outcomes.quality)
    return Fitted(ridge, _vectors)


def probe_ridge(train: Table, seed: int) -> Router:
    """Predict by ridge regression over embeddings and the probe, brought to unit spread."""
    assert train.probes is not None
    mean, spread = train.probes.mean(axis=0), train.probes.std(axis=0) + 1e-6

    def features(questions: Table) -> Floats:
        assert questions.probes is not None
        return np.hstack([questions.outcomes.vectors, (questions.probes - mean) / spread])

    return Fitted(sklearn("linear_model").Ridge(alpha=10.0).fit(features(train), train.outcomes.quality), features)


def nearest(train: Table, seed: int) -> Router:
    """Predict the mean over the nearest questions, weighted by 1 / distance."""
    regressor = sklearn("neighbors").KNeighborsRegressor(min(NEIGHBOURS, len(train)), weights="distance")
    return Fitted(regressor.fit(train.outcomes.vectors, train.outcomes.quality), _vectors)


def _drawn(quality: Floats, towards: Floats) -> Floats:
    """Return the mean of rows with `SHRINKAGE` rows of another mean added."""
    return np.asarray((quality.sum(axis=0) + SHRINKAGE * towards) / (len(quality) + SHRINKAGE), np.float32)


def _length(questions: Table) -> Floats:
    return np.log1p([[len(text)] for text in questions.outcomes.texts]).astype(np.float32)


def _vectors(questions: Table) -> Floats:
    return questions.outcomes.vectors


FLOORS: dict[str, Fit] = {
    RANDOM: tier_means,
    "prompt length": prompt_length,
    "topic table": topic_table,
    "TF-IDF + ridge": text_ridge,
    "embedding + ridge": embedding_ridge,
    "embedding kNN-50": nearest,
}
