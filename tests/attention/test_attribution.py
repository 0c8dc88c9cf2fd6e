"""Credit goes to the sources that hold the answer and lie where the question leads."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.attention.attribution import (
    ATTRIBUTION_FEATURES,
    attribute,
    attribution_features,
    calibrate,
    sharpened,
)
from ruvllm.attention.features import FEATURES

TEXTS = ["The Petrel is the supply ship.", "Bread is baked on Fridays.", "Terns nest on cliffs."]
EVEN = np.zeros((3, len(FEATURES)), np.float32)


def test_the_source_that_holds_the_answer_has_most_credit() -> None:
    credits = attribute("When is baking day?", "on Fridays", TEXTS, EVEN)
    assert credits.argmax() == 1
    assert ((credits >= 0.0) & (credits <= 1.0)).all()


def test_without_an_answer_the_question_decides() -> None:
    assert attribute("What is the supply ship?", "", TEXTS, EVEN).argmax() == 0


def test_yes_and_no_are_found_in_no_source() -> None:
    rows = attribution_features("Is it?", "No.", ["no no no", "yes"], EVEN[:2])
    answer = [ATTRIBUTION_FEATURES.index(name) for name in ("contained", "only_span")]
    assert not rows[:, answer].any()


def test_a_source_that_ranking_knew_to_be_near_has_more_credit() -> None:
    features = EVEN.copy()
    features[2, FEATURES.index("log_prior")] = 3.0
    assert attribute("Where?", "", ["a", "b", "c"], features).argmax() == 2


def test_one_source_alone_has_some_credit() -> None:
    assert 0.0 < attribute("When?", "Fridays", TEXTS[1:2], EVEN[:1])[0] < 1.0


def test_credits_are_taught_as_shares() -> None:
    assert sharpened(np.array([0.9, 0.3], np.float32)) == pytest.approx([0.9, 0.1])
    assert not sharpened(np.zeros(2, np.float32)).any()


def test_calibration_finds_what_tells_needed_sources() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((600, len(ATTRIBUTION_FEATURES))).astype(np.float32)
    column = ATTRIBUTION_FEATURES.index("named")
    needed = rows[:, column] + 0.3 * rng.standard_normal(600) > 0.0
    weights = calibrate(rows, needed)
    assert weights["named"] > 1.0
    assert max(abs(w) for name, w in weights.items() if name != "named") < 0.5 * weights["named"]


def test_calibration_counts_nothing_against_a_source() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((600, len(ATTRIBUTION_FEATURES))).astype(np.float32)
    column = ATTRIBUTION_FEATURES.index("similarity")
    weights = calibrate(rows, rows[:, column] + 0.3 * rng.standard_normal(600) < 0.0)
    assert min(weights[name] for name in ATTRIBUTION_FEATURES) >= 0.0


def test_calibration_wants_both_kinds() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        calibrate(np.zeros((2, len(ATTRIBUTION_FEATURES)), np.float32), np.array([True, True]))
    with pytest.raises(ValueError, match="rows must have shape"):
        calibrate(np.zeros((2, 3), np.float32), np.array([True, False]))
