"""`ruvllm traces` lists what is kept for training and makes a curriculum of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from memory.fakes import interaction
from typer.testing import CliRunner, Result

from ruvllm.cli.app import app
from ruvllm.memory import Memory
from ruvllm.tuning import Curriculum
from ruvllm.types import Feedback, Message

pytestmark = pytest.mark.real

DAYS = {"bread": "Friday", "fish": "Monday", "post": "Tuesday"}


@pytest.fixture
def brain(tmp_path: Path, minilm_dir: Path) -> Path:
    with Memory(tmp_path / "brain") as memory:
        for i, (thing, day) in enumerate(DAYS.items()):
            question = f"On which day of the week does the {thing} arrive?"
            prompt = (Message("user", question),)
            memory.record(
                interaction(
                    f"a{i}", query=question, answer="Some day.", prompt=prompt, created=time.time(), session=None
                )
            )
            memory.feedback(f"a{i}", Feedback(rating=1, correction=day))
        memory.record_failure("EngineError")
    return tmp_path / "brain"


def traces(brain: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["traces", *arguments, "--brain", str(brain)])


def test_traces_are_listed_newest_first_and_counted(brain: Path) -> None:
    output = traces(brain, "list").output
    assert output.index("the post") < output.index("the fish") < output.index("the bread")
    assert "corrected 3" in output and "failure 3" in output and "EngineError 1" in output


def test_traces_as_json_lines(brain: Path) -> None:
    (line,) = traces(brain, "list", "--json", "--limit", "1").output.splitlines()
    trace = json.loads(line)
    assert (trace["id"], trace["correction"]) == ("a2", "Tuesday")
    assert trace["tags"]["difficulty"]["made_by"] == "the reader's confidence"


def test_a_curriculum_is_written_without_the_holdout(brain: Path, tmp_path: Path) -> None:
    holdout = tmp_path / "holdout.jsonl"
    holdout.write_text('{"question": "On which day of the week does the fish arrive?"}\n')
    done = traces(brain, "curriculum", str(tmp_path / "c"), "--holdout", str(holdout))
    assert "in the holdout 1" in done.output
    answers = {example.messages[-1].content for example in Curriculum.read(tmp_path / "c").sft}
    assert answers == {"Friday", "Tuesday"}


def test_nothing_to_train_on_is_said_with_its_reasons(brain: Path, tmp_path: Path) -> None:
    holdout = tmp_path / "holdout.txt"
    holdout.write_text("".join(f"On which day of the week does the {thing} arrive?\n" for thing in DAYS))
    done = traces(brain, "curriculum", str(tmp_path / "c"), "--holdout", str(holdout))
    assert str(done.exception) == "traces: nothing to train on in 3 traces: 3 in the holdout"
    assert not (tmp_path / "c").exists()


def test_a_line_of_a_holdout_ends_where_its_object_does(brain: Path, tmp_path: Path) -> None:
    holdout = tmp_path / "holdout.jsonl"
    rows = '{"text": "Two\u2028lines."}\r\n{"question": "On which day of the week does the fish arrive?"}\r\n'
    holdout.write_bytes(rows.encode())
    done = traces(brain, "curriculum", str(tmp_path / "c"), "--holdout", str(holdout))
    assert done.exit_code == 0 and "in the holdout 1" in done.output


def test_a_holdout_may_begin_with_a_mark_of_its_encoding(brain: Path, tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_bytes('\ufeff{"answer": "This."}\n'.encode())
    done = traces(brain, "curriculum", str(tmp_path / "c"), "--holdout", str(tmp_path / "h.jsonl"))
    assert "h.jsonl, line 1" in str(done.exception)


@pytest.mark.parametrize(
    "row",
    [
        '{"answer": "This."}',
        '{"messages": null}',
        '{"messages": {"content": "x"}}',
        '{"messages": [{"role": "user"}]}',
        '{"messages": [5]}',
        '{"messages": [{"content": ["x"]}]}',
        '{"a": ' + "[" * 100_000,
    ],
    ids=range(7),
)
def test_a_holdout_line_without_a_text_is_named(brain: Path, tmp_path: Path, row: str) -> None:
    (tmp_path / "h.jsonl").write_text(f'{{"question": "Which?"}}\n{row}\n')
    done = traces(brain, "curriculum", str(tmp_path / "c"), "--holdout", str(tmp_path / "h.jsonl"))
    assert "h.jsonl, line 2" in str(done.exception)


def test_traces_of_all_tuned_namespaces_are_listed_and_built_on(brain: Path, tmp_path: Path) -> None:
    (brain / "ruvllm.toml").write_text('[tuning]\nnamespaces = ["default", "team"]\n')
    with Memory(brain, namespace="team") as memory:
        question = "On which day of the week does the boat leave?"
        sent = {"prompt": (Message("user", question),), "created": time.time(), "session": None}
        memory.record(interaction("b1", query=question, answer="Sunday", namespace="team", **sent))
        memory.feedback("b1", Feedback(correction="Monday"))
    assert "corrected 4" in traces(brain, "list").output
    assert traces(brain, "curriculum", str(tmp_path / "c")).exit_code == 0
    assert Curriculum.read(tmp_path / "c").card.namespaces == ("default", "team")
