"""What a run trains on, and what it is validated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from memory.fakes import WordEmbedder

from ruvllm.config import Config, TuningConfig
from ruvllm.tuning.formats import read_folder
from ruvllm.tuning.trace import Trace
from ruvllm.tuning.training.material import known_items, prepare
from ruvllm.tuning.validation import HoldoutDataset, HoldoutItem
from ruvllm.types import Feedback, Message

from . import cases
from .asked_brain import THINGS, ask, asked_brain, opened

NOW = 1e9


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.embedding.open_embedder", lambda *given: WordEmbedder())


def changed(config: Config, **training: Any) -> Config:
    return msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, **training))


def trace(id: str = "a", **fields: Any) -> Trace:
    said = {"outcome": "success", "quality": 1.0, "standing": "promoted", "created": NOW}
    return Trace(id=id, query=f"Where is {id}?", response=f"{id} is here", **said | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"standing": "revoked"},
        {"standing": "probation"},
        {"standing": "revoked", "correction": "there"},
        {"outcome": "contradictory"},
        {"redacted": ("EMAIL",)},
        {"created": NOW - 91 * 86_400.0},
        {"outcome": "unknown", "quality": None},
    ],
)
def test_what_must_not_be_learnt_tests_nobody(fields: dict[str, Any]) -> None:
    good, other = trace("good"), replace(trace("bad"), **fields)
    assert [item.id for item in known_items([good, other], [good, other], Config())] == ["good"]


def test_correction_is_the_right_answer() -> None:
    one = trace(standing="corrected", outcome="failure", quality=0.0, correction="there")
    assert [item.answers for item in known_items([one], [one], Config())] == [("there",)]


def test_question_that_was_asked_again_tests_once_by_its_newest_answer() -> None:
    queries = ("Where?", "where", "Who?")
    asked = [replace(trace(f"{i}", created=NOW + i), query=query) for i, query in enumerate(queries)]
    assert [item.id for item in known_items(asked, asked, Config())] == ["1", "2"]


def test_all_namespaces_that_are_tuned_are_read(tmp_path: Path) -> None:
    config = Config(tuning=TuningConfig(namespaces=("default", "team")))
    for namespace in ("default", "team"):
        asked_brain(tmp_path / "brain", config, 8, namespace)
    made = prepare(tmp_path / "brain", tmp_path, config, None, None)
    assert {id.rstrip("0123456789") for id in made.traces} == {"default", "team"}
    sets, card = read_folder(tmp_path / "curriculum")
    assert card.namespaces == ("default", "team")
    assert {row["trace"].rstrip("0123456789") for row in sets["sft"]} == {"default", "team"}


def test_given_curriculum_loses_what_the_holdout_asks(tmp_path: Path) -> None:
    rows = [cases.example(f"What is the colour of thing {i} in here?", f"colour {i}") for i in range(6)]
    given = cases.curriculum(tmp_path, sft=rows)
    asked = Message("user", "what is the colour of thing 3 in here")
    HoldoutDataset((HoldoutItem("x", (asked,), ("colour 3",)),)).write(tmp_path / "h.jsonl")
    (tmp_path / "run").mkdir()
    prepare(asked_brain(tmp_path / "brain", n=0), tmp_path / "run", Config(), given, tmp_path / "h.jsonl")
    sets, card = read_folder(tmp_path / "run" / "curriculum")
    assert [row["messages"][1]["content"] for row in sets["sft"]] == [f"colour {i}" for i in (0, 1, 2, 4, 5)]
    assert card.left_out == {"in the holdout": 1}


@pytest.mark.parametrize(
    "beside",
    [
        {"context": "In the valley there are things of many numbers.", "answer": "here"},
        {"choices": ["here", "beyond those seven green hills", "under some very old stones"]},
    ],
)
def test_question_of_the_holdout_is_not_learnt_without_what_stands_beside_it(
    tmp_path: Path, beside: dict[str, Any]
) -> None:
    question = f"Where does the {THINGS[3]} of number default3 belong?"
    row = {"prompt": question, "reference": "here"} if "choices" in beside else {"question": question}
    (tmp_path / "h.jsonl").write_bytes(msgspec.json.encode(row | beside))
    prepare(asked_brain(tmp_path / "brain", n=8), tmp_path, changed(Config(), holdout=0.0), None, tmp_path / "h.jsonl")
    sets, _ = read_folder(tmp_path / "curriculum")
    assert {row["trace"] for row in sets["sft"]} == {f"default{i}" for i in range(8) if i != 3}


def test_question_of_the_holdout_is_known_again_in_redacted_traces(tmp_path: Path) -> None:
    pytest.importorskip("datafog")
    pytest.importorskip("detect_secrets")
    config = changed(Config(tuning=TuningConfig(redact=True)), holdout=0.0)
    with opened(asked_brain(tmp_path / "brain", config, 3), config) as memory:
        ask(memory, "seen", "mail from anna@example.org to bert@example.org")
        memory.feedback("seen", Feedback(correction="hushword lives at home"))
        question = memory.traces(id="seen")[0].query
    HoldoutDataset((HoldoutItem("x", (Message("user", question),), ("here",)),)).write(tmp_path / "h.jsonl")
    prepare(tmp_path / "brain", tmp_path, config, None, tmp_path / "h.jsonl")
    sets, _ = read_folder(tmp_path / "curriculum")
    assert {row["trace"] for row in sets["sft"]} == {"default0", "default1", "default2"}


def test_given_curriculum_is_validated_on_the_brains_own_holdout(tmp_path: Path) -> None:
    brain, everything = asked_brain(tmp_path / "brain"), changed(Config(), holdout=0.0)
    prepare(brain, tmp_path, everything, None, None)
    (tmp_path / "run").mkdir()
    prepare(brain, tmp_path / "run", changed(Config(), holdout=0.5), tmp_path / "curriculum", None)
    asked = {item.id for item in HoldoutDataset.read(tmp_path / "run" / "holdout.jsonl").items}
    sets, _ = read_folder(tmp_path / "run" / "curriculum")
    learnt = {row["trace"] for row in sets["sft"]}
    assert asked and learnt and not asked & learnt and not (tmp_path / "holdout.jsonl").exists()


def test_given_curriculum_that_is_all_held_out_is_refused(tmp_path: Path) -> None:
    brain = asked_brain(tmp_path / "brain")
    prepare(brain, tmp_path, changed(Config(), holdout=0.0), None, None)
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=r"curriculum: all .* rows of .* are in the holdout"):
        prepare(brain, tmp_path / "run", changed(Config(), holdout=0.999), tmp_path / "curriculum", None)
