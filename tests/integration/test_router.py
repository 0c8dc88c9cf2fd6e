"""The router at work in a whole brain: questions are routed, answered and rated, and training changes the routes.

The parts are real: an encoder and four decoders of a few kilobytes, whose cards state the sizes of a real ladder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from models import tiny, tiny_lfm2

import ruvllm
from ruvllm import models
from ruvllm.config import Config, ModelsConfig, load_config
from ruvllm.models.card import read_card, write_card
from ruvllm.types import Constraints, Response

pytestmark = [pytest.mark.integration]

LADDER = {"tiny-350m": 354e6, "tiny-700m": 742e6, "tiny-1.2b": 1170e6, "tiny-2.6b": 2569e6}
TIERS = tuple(LADDER)
CHEAPEST, LARGEST = TIERS[:2], TIERS[-1]
PLACES = "austria brazil canada denmark egypt france ghana hungary india japan kenya latvia mexico norway oman".split()
PROOFS = "prime chord group limit series matrix graph field curve norm lattice ring torus sheaf kernel".split()
WORDS = [*tiny.WORDS[:5], *"what is the capital of ? prove this theorem on every please now".split(), *PLACES, *PROOFS]

Answered = Callable[[Response], bool]
Configure = Callable[..., Config]


@pytest.fixture(scope="session")
def ladder_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache with "tiny-bert" and LADDER."""
    folder = tmp_path_factory.mktemp("ladder")
    section = ModelsConfig(cache_dir=str(folder / "cache"), offline=True)
    weights, config = tiny.encoder_weights(vocab=len(WORDS)), tiny.encoder_config(vocab=len(WORDS))
    models.pull(f"path:{tiny.write_encoder_folder(folder / 'tiny-bert', weights, config, words=WORDS)}", section)
    for seed, (name, parameters) in enumerate(LADDER.items()):
        path = models.pull(f"path:{tiny_lfm2.write_lfm2_folder(folder / name, seed=seed)}", section)
        write_card(path, msgspec.structs.replace(read_card(path), parameters=int(parameters)))
    return folder / "cache"


@pytest.fixture(scope="session")
def configure(ladder_cache: Path) -> Configure:
    """Return the configuration over that cache, the largest tier as the safe default; `router` settings as given."""

    def configuration(*, tiers: Sequence[str] = TIERS, cache: Path = ladder_cache, **router: object) -> Config:
        return load_config(
            environment={},
            overrides={
                "models": {"cache_dir": str(cache), "offline": True, "tiers": list(tiers)},
                "embedding": {"model": "tiny-bert", "dim": tiny.HIDDEN, "num_threads": 1},
                "generation": {"model": tiers[-1], "max_new_tokens": 2, "min_confidence": 0.0, "num_threads": 1},
                "router": {"calibrate": 0.0} | router,
            },
        )

    return configuration


def capital(i: int) -> str:
    return f"what is the capital of {PLACES[i % 15]} ? question {i}"


def proof(i: int) -> str:
    return f"prove this theorem on every {PROOFS[i % 15]} now please question {i}"


def ask_and_rate(llm: ruvllm.RuvLLM, questions: Sequence[str], is_good: Answered, *, session_of: int = 0) -> None:
    """Ask all and rate every answer, each by a rater of its own; `session_of` questions at a time are one session."""
    for i, question in enumerate(questions):
        response = llm.ask(question, session=f"s{i // session_of}" if session_of else None)
        llm.feedback(response.id, task_success=is_good(response), rater=f"rater {i}")


def routes(llm: ruvllm.RuvLLM, questions: Sequence[str], *, session: str | None = None) -> list[str]:
    return [llm.ask(question, session=session).route.tier for question in questions]


def expected_of_smallest(llm: ruvllm.RuvLLM, questions: Sequence[str]) -> float:
    """Return the quality that is expected of the smallest tier, the mean over questions."""
    decisions = [llm.memory.routed(llm.ask(question).id).decision for question in questions]
    return float(np.mean([decision.estimates[0].quality for decision in decisions if decision]))


def only_largest_proves(response: Response) -> bool:
    return response.query.startswith("what") or response.route.tier == LARGEST


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, configure: Configure) -> Path:
    """A brain whose router was trained on capitals, which every tier knows, and proofs, which only the largest does."""
    folder = tmp_path_factory.mktemp("taught") / "brain"
    with ruvllm.open(folder, config=configure(explore=1.0)) as llm:
        ask_and_rate(llm, [kind(i) for i in range(100) for kind in (capital, proof)], only_largest_proves)
        assert llm.train_router().accepted
    return folder


@pytest.fixture
def brain(tmp_path: Path, taught: Path) -> Path:
    """A copy of it, to be asked."""
    return Path(shutil.copytree(taught, tmp_path / "brain"))


def test_router_adaptation(tmp_path: Path, configure: Configure) -> None:
    with ruvllm.open(tmp_path / "brain", config=configure(explore=1.0)) as llm:
        ask_and_rate(llm, [capital(i) for i in range(100)], lambda response: True)
        assert llm.train_router().accepted
    with ruvllm.open(tmp_path / "brain", config=configure(explore=0.0)) as llm:
        assert set(routes(llm, [capital(i) for i in range(100, 120)])) <= set(CHEAPEST)


def test_before_training_the_safe_default_answers(tmp_path: Path, configure: Configure) -> None:
    with ruvllm.open(tmp_path / "brain", config=configure(explore=0.0)) as llm:
        route = llm.ask(capital(0)).route
    assert (route.tier, route.decided_by, route.reason) == (LARGEST, "safe default", "nothing was learnt yet")


def test_what_only_the_largest_tier_does_goes_there_and_the_rest_does_not(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure(explore=0.0)) as llm:
        simple, hard = routes(llm, [capital(i) for i in range(200, 210)]), routes(llm, map(proof, range(200, 210)))
    assert set(simple) <= set(CHEAPEST) and set(hard) == {LARGEST}


def test_a_brain_that_is_opened_again_keeps_its_router(brain: Path, configure: Configure) -> None:
    found = []
    for _ in range(2):
        with ruvllm.open(brain, config=configure(explore=0.0)) as llm:
            found.append(llm.ask(proof(300)).route)
    assert found[0].checkpoint == found[1].checkpoint == 1
    assert found[0].tier == found[1].tier == LARGEST and found[0].decided_by == "router"


def test_what_was_learnt_can_be_taken_back(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure(explore=0.0)) as llm:
        learnt = llm.ask(capital(300)).route
        assert (learnt.checkpoint, llm.rollback_router()) == (1, 0)
        route = llm.ask(capital(300)).route
    assert learnt.tier in CHEAPEST and (route.tier, route.checkpoint, route.decided_by) == (LARGEST, 0, "safe default")


def test_a_conversation_stays_with_its_tier(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure(explore=0.0)) as llm:
        simple = routes(llm, [capital(i) for i in range(400, 406)], session="alice")
        hard = routes(llm, [proof(i) for i in range(400, 406)], session="bob")
    assert len(set(simple)) == 1 and simple[0] in CHEAPEST and set(hard) == {LARGEST}


def test_learning_counts_the_turns_of_conversations(tmp_path: Path, configure: Configure) -> None:
    with ruvllm.open(tmp_path / "brain", config=configure(explore=1.0)) as llm:
        ask_and_rate(llm, [kind(i) for i in range(90) for kind in (capital, proof)], only_largest_proves, session_of=3)
        report = llm.learn().router
    assert report is not None and (report.turns, report.labels) == (180, 180)
    with ruvllm.open(tmp_path / "brain", config=configure(explore=0.0)) as llm:
        assert set(routes(llm, [capital(i) for i in range(200, 203)], session="new")) <= set(CHEAPEST)


def test_limits_of_a_request_count_more_than_what_was_learnt(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure(explore=0.0)) as llm:
        route = llm.ask(proof(500), constraints=Constraints(max_cost=1.0)).route
    assert route.tier in TIERS[:3]


def test_one_configured_tier_answers_and_says_so(tmp_path: Path, configure: Configure) -> None:
    with ruvllm.open(tmp_path / "brain", config=configure(tiers=[LARGEST])) as llm:
        route = llm.ask(capital(0)).route
        with pytest.raises(ValueError, match=r"models\.tiers must name at least two models"):
            llm.train_router()
    assert (route.tier, route.decided_by, route.reason) == (LARGEST, "default", "there is one tier")


def test_one_installed_tier_answers_for_all_and_says_so(
    tmp_path: Path, ladder_cache: Path, configure: Configure
) -> None:
    cache = Path(shutil.copytree(ladder_cache, tmp_path / "cache"))
    for name in TIERS[1:]:
        shutil.rmtree(next(cache.rglob(f"{name}*")))
    with ruvllm.open(tmp_path / "brain", config=configure(cache=cache, explore=0.0)) as llm:
        response = llm.ask(capital(0))
    assert (response.route.tier, response.route.decided_by) == (TIERS[0], "fallback")
    assert [f"{name} did not answer" in " ".join(response.warnings) for name in TIERS] == [False, True, True, True]


@pytest.mark.parametrize(("max_labels_per_day", "is_moved"), [(10, False), (200, True)])
def test_who_rates_everything_bad_moves_the_router_no_further_than_allowed(
    brain: Path, configure: Configure, max_labels_per_day: int, is_moved: bool
) -> None:
    config, asked = configure(explore=1.0, max_labels_per_day=max_labels_per_day), [capital(i) for i in range(700, 715)]
    with ruvllm.open(brain, config=config) as llm:
        before = expected_of_smallest(llm, asked)
        for i in range(150):
            llm.feedback(llm.ask(capital(i)).id, rating=1, rater="adversary")
        llm.train_router()
    with ruvllm.open(brain, config=config) as llm:
        assert (before - expected_of_smallest(llm, asked) > 0.35) == is_moved
