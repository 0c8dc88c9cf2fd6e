"""The shared records refuse values that mean nothing."""

import pytest

from ruvllm.types import Constraints, Decision, Feedback, GenerationOptions, TierEstimate, TierOutcome

CHEAP, DEAR = TierEstimate("small", 0.6, 0.9), TierEstimate("large", 0.4, 0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 2.5),
        ("max_new_tokens", "5"),
        ("max_new_tokens", True),
        ("temperature", -0.1),
        ("temperature", "warm"),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_k", 2**70),
        ("seed", "x"),
        ("seed", 1.5),
        ("min_p", None),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("inf")),
        ("stop", ("",)),
    ],
)
def test_generation_options_name_the_wrong_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} must "):
        GenerationOptions(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("rating", [0, 6, -1, 2.5, True])
def test_feedback_refuses_a_rating_out_of_range(rating: object) -> None:
    with pytest.raises(ValueError, match="rating"):
        Feedback(rating=rating)  # type: ignore[arg-type]


def test_feedback_refuses_silence_and_an_empty_correction() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Feedback()
    with pytest.raises(ValueError, match="correction"):
        Feedback(correction=" ")
    with pytest.raises(ValueError, match="quality"):
        Feedback(quality=float("nan"))
    with pytest.raises(ValueError, match="rater"):
        Feedback(rating=3, rater=" ")


@pytest.mark.parametrize("stop", ["END", 5, None, (1, 2)])
def test_stop_that_is_no_tuple_of_strings_is_a_type_error(stop: object) -> None:
    with pytest.raises(TypeError, match=r"^stop must be a tuple of strings"):
        GenerationOptions(stop=stop)  # type: ignore[arg-type]


def test_a_schema_as_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="json_schema must be a mapping, not str"):
        GenerationOptions(json_schema='{"type": "string"}')  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [("task_success", "maybe"), ("correction", 5), ("marks", [1]), ("marks", {1: 1}), ("marks", {"1": True})],
)
def test_feedback_names_the_field_of_a_wrong_type(field: str, value: object) -> None:
    with pytest.raises(TypeError, match=field):
        Feedback(**{"rating": 3, field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_latency_ms", 0),
        ("max_latency_ms", float("nan")),
        ("max_cost", -1.0),
        ("max_cost", True),
        ("privacy", "secret"),
        ("min_quality", 1.1),
        ("min_quality", float("nan")),
    ],
)
def test_constraints_name_the_wrong_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Constraints(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tier", ""),
        ("quality", float("nan")),
        ("quality", 1.5),
        ("latency_ms", -1.0),
        ("cost", float("inf")),
        ("tokens", -1),
        ("source", "rumour"),
        ("source", None),
    ],
)
def test_outcome_of_a_tier_names_the_wrong_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        TierOutcome(**{"tier": "small", "quality": 0.5, "source": "user", field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"estimates": (CHEAP, CHEAP)}, "estimates must be of different tiers"),
        ({"tier": "huge"}, "tier must be one of small, large"),
        ({"estimates": (CHEAP,)}, "propensities must add up to 1"),
        ({"estimates": (TierEstimate("small", 1.0, 0.0), TierEstimate("large", 0.0, 1.0))}, "propensity of the chosen"),
        ({"features": bytes(510)}, "present has 16 bytes for 510"),
        ({"present": bytes(15)}, "present has 15 bytes for 512"),
        ({"confidence": 2.0}, "confidence"),
    ],
)
def test_decision_that_does_not_add_up_is_refused(changed: dict[str, object], message: str) -> None:
    values = {"estimates": (CHEAP, DEAR), "tier": "small", "features": bytes(512), "present": bytes(16)}
    with pytest.raises(ValueError, match=message):
        Decision(feature_version=1, **(values | changed))  # type: ignore[arg-type]


def test_an_estimate_is_a_finite_number() -> None:
    with pytest.raises(ValueError, match="score"):
        TierEstimate("small", float("nan"), 1.0)
    with pytest.raises(ValueError, match="propensity"):
        TierEstimate("small", 0.0, 1.5)
