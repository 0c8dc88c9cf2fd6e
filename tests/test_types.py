"""The shared records refuse values that mean nothing."""

import pytest

from ruvllm.types import Feedback, GenerationOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
        ("stop", ("",)),
    ],
)
def test_generation_options_name_the_wrong_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
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


def test_stop_as_one_string_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="stop"):
        GenerationOptions(stop="END")  # type: ignore[arg-type]


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
