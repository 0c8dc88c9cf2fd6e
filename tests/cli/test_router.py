"""`ruvllm router`: the log for people and for programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from learning.routed_brains import brain
from memory.fakes import WordEmbedder, interaction, routed
from typer.testing import CliRunner

from ruvllm.cli.app import app
from ruvllm.memory import Memory
from ruvllm.types import Feedback, TierOutcome

Run = Callable[..., tuple[int, str, BaseException | None]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on a brain with an answer that was routed and rated, and one without a choice."""
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        memory.record(routed("a1", query="Is [b]this[/b] hard?", created=1.0, calibrates=True))
        memory.record(interaction("a2", created=2.0, outcome=TierOutcome("small", latency_ms=1234.0)))
        memory.feedback("a1", Feedback(rating=4))

    def invoke(*arguments: str) -> tuple[int, str, BaseException | None]:
        done = CliRunner().invoke(app, ["router", *arguments, "--brain", str(tmp_path / "brain")])
        return done.exit_code, done.output, done.exception

    return invoke


def test_log_shows_who_answered_and_what_came_of_it(run: Run) -> None:
    code, output, _ = run("log")
    newest, oldest = output.splitlines()[1:]
    assert code == 0 and "no choice" in newest and "1,234" in newest
    assert [part in oldest for part in ("a1", "router, calibrates", "0.500", "0.750", "Is [b]this[/b] hard?")] == [
        True
    ] * 5


def test_log_is_as_long_as_asked_for(run: Run) -> None:
    assert len(json.loads(run("log", "-n", "1", "--json")[1])) == 1
    assert str(run("log", "-n", "0")[2]) == "limit must be a whole number >= 1 (0)"


def test_log_of_nothing_says_so(tmp_path: Path) -> None:
    Memory(tmp_path / "b", embedder=WordEmbedder()).close()
    done = CliRunner().invoke(app, ["router", "log", "--brain", str(tmp_path / "b")])
    assert done.output == "nothing is logged yet\n"


def test_explain_shows_every_tier(run: Run) -> None:
    code, output, _ = run("explain", "a1")
    first, _, small, large, last = output.splitlines()
    assert code == 0 and first == "small answered (router, calibrates): cheap enough"
    assert small.split() == ["small", "0.625", "0.750", "0.500", "40.000", "0.125", "0.750", "user", "50.000", "0.250"]
    assert large.split() == ["large", "0.500", "0.250"]
    assert last.startswith("not explained: router.safe_default must be one of the log's tiers, small, large")


def test_explain_says_where_there_was_no_choice(run: Run) -> None:
    assert run("explain", "a2")[1] == "small answered: there was no choice\n"


def test_explain_in_json_has_all_that_was_logged(run: Run) -> None:
    logged = json.loads(run("explain", "a1", "--json")[1])
    assert logged["decision"]["checkpoint"] == 3 and logged["outcomes"][0]["source"] == "user"


def test_an_unknown_answer_is_named(run: Run) -> None:
    assert str(run("explain", "a9")[2]) == "id: nothing is logged of an answer 'a9'"


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain whose router learnt, with 600 routed and rated requests."""
    return brain(tmp_path_factory.mktemp("brains") / "learnt", 600)


def on(brain: Path, *arguments: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(app, ["router", *arguments, "--brain", str(brain)])
    return done.exit_code, done.output, done.exception


def test_explain_shows_what_the_score_is_made_of(learnt: Path) -> None:
    code, output, _ = on(learnt, "explain", "a5")
    assert code == 0 and "It is the sum of" in output and "lexical_quality" in output
    assert "would answer if" in output or "no single number" in output


def test_explain_knows_the_turns_before(learnt: Path) -> None:
    found = json.loads(on(learnt, "explain", "a11", "--json")[1])
    assert found["session"] == "s5" and "earlier_turns" in {
        one["name"] for one in found["explanation"]["contributions"]
    }
    total = sum(one["amount"] for one in found["explanation"]["contributions"])
    assert total == pytest.approx(found["explanation"]["score"], abs=1e-6)


def test_explain_says_that_the_checkpoint_is_gone(tmp_path: Path) -> None:
    output = on(brain(tmp_path / "b", 3, checkpoint=False), "explain", "a2")[1]
    assert output.splitlines()[-1] == "not explained: checkpoint 1, which decided it, is not on disk any more"


def test_whatif_shows_both_floors_beside_what_was(learnt: Path) -> None:
    code, output, _ = on(learnt, "whatif", "--quality-floor", "0.93", "--days", "1e6")
    lines = output.splitlines()
    assert code == 0 and lines[0].startswith("600 requests that a trained router decided, of 600")
    assert [line.split()[0] for line in lines[2:4]] == ["0.93", "0.60"] and "as it was" in lines[4]


def test_whatif_in_json_has_intervals(learnt: Path) -> None:
    found = json.loads(on(learnt, "whatif", "--quality-floor", "0.93", "--days", "1e6", "--json")[1])
    assert found["asked for"]["quality"]["low"] < found["asked for"]["quality"]["value"]
    assert found["asked for"]["cost"]["value"] > found["today's"]["cost"]["value"]


def test_whatif_refuses_a_small_log(tmp_path: Path) -> None:
    few = brain(tmp_path / "b", 60)
    message = str(on(few, "whatif", "--quality-floor", "0.9", "--days", "1e6")[2])
    assert message.startswith("quality_floor 0.9 cannot be judged: the log is worth ") and "100 are needed" in message


def test_whatif_of_an_empty_month_says_so(learnt: Path) -> None:
    assert str(on(learnt, "whatif", "--quality-floor", "0.9")[2]) == "nothing was routed in the last 30 days"


def test_report_shows_floors_and_draws_one_picture(learnt: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.svg"
    code, output, _ = on(learnt, "report", "--days", "1e6", "--out", str(file))
    assert code == 0 and output.startswith("600 requests, 600 of them decided by a trained router: router ")
    assert "ECE" in output and "always large" in output and f"drawn: {file}" in output
    assert len(ET.parse(file).getroot()) == 3


def test_report_draws_into_a_folder(learnt: Path, tmp_path: Path) -> None:
    on(learnt, "report", "--days", "1e6", "--out", str(tmp_path / "plots"))
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["frontier.svg", "reliability.svg", "shares.svg"]


def test_report_in_json_has_all_figures(learnt: Path) -> None:
    found = json.loads(on(learnt, "report", "--days", "1e6", "--json")[1])
    assert found["forgetting"] is None  # this brain's vectors are not those that its router was made for
    assert found["requests"] == 600 and found["reliability"]["ece"] < 0.1 and len(found["frontier"]) == 11
