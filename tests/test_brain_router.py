"""The router of one brain: what its log says counts, and what was forgotten does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from memory.fakes import WordEmbedder, interaction, routed

from ruvllm.brain_router import BrainRouter
from ruvllm.checkpoints import Checkpoints
from ruvllm.config import Config, ModelsConfig, load_config
from ruvllm.errors import BrainError
from ruvllm.inference.runtime_engine import Probe
from ruvllm.learning.forgetting import forgetting_of
from ruvllm.learning.router_training import rows_of
from ruvllm.memory import Memory
from ruvllm.router.certificate import Certificate, Refusal
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES, RouterInputs, features
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.training import TrainingConfig
from ruvllm.router_inputs import inputs_of, machine, policy_of, tiers_of, training_of
from ruvllm.routing import Asked
from ruvllm.types import Constraints, Decision, Feedback, Route, TierOutcome

TIERS = (TierInfo("small", 100_000_000, 0.06), TierInfo("large", 2_000_000_000, 1.2))
ROUTED = {"models": {"tiers": ["small", "large"]}, "generation": {"model": "small"}}


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=Config()) as memory:
        memory.add(["The supply ship arrives every six weeks.", "The supply ship is red."])
        yield memory


def configured(**router: object) -> Config:
    return load_config(environment={}, overrides=ROUTED | {"router": router})


def asked(memory: Memory, query: str = "When does the ship arrive?", **fields: object) -> Asked:
    vector = memory.encode([query])[0]
    hits = memory.search(query, 10, query_vector=vector)
    vectors, links = memory.among([hit.node.id for hit in hits])
    values = {"session": None, "turn": 0, "constraints": Constraints(), "tiers": ("small", "large")} | fields
    return Asked(query, vector, hits, vectors, links, **values)  # type: ignore[arg-type]


def decided(router: BrainRouter, one: Asked) -> Decision:
    return router.decide(one, probe=lambda: (Probe(0.5, 0.25, 1.0, -2.0), 7))


def rated(memory: Memory, id: str, query: str, rating: int | None) -> None:
    memory.record(interaction(id, query=query, outcome=TierOutcome("small", latency_ms=20.0, cost=0.1, tokens=3)))
    if rating is not None:
        memory.feedback(id, Feedback(rating=rating))


def test_untrained_the_safe_default_answers(memory: Memory) -> None:
    config = configured(explore=0.0, calibrate=0.0, safe_default="large")
    decision = decided(BrainRouter(memory, TIERS, config, seed=0), asked(memory))
    assert (decision.tier, decision.checkpoint, decision.calibrates) == ("large", 0, False)
    assert len(decision.features) >= 4 * NUM_FEATURES


def test_every_tier_answers_by_a_coin_of_the_configured_bias(memory: Memory) -> None:
    router, one = BrainRouter(memory, TIERS, configured(calibrate=0.25), seed=0), asked(memory)
    share = np.mean([decided(router, one).calibrates for _ in range(400)])
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)


def test_the_log_is_known_from_the_first_question_on(memory: Memory) -> None:
    rated(memory, "a1", "When does the ship arrive?", 5)
    rated(memory, "a2", "Something else?", None)
    router = BrainRouter(memory, TIERS, configured(), seed=0)
    decided(router, asked(memory))
    assert router._router is not None and len(router._router.memory) == 1  # a2, unrated, tells nothing


def test_a_rating_counts_from_the_next_question_on(memory: Memory) -> None:
    rated(memory, "a1", "When does the ship arrive?", None)
    router = BrainRouter(memory, TIERS, configured(explore=0.0), seed=0)
    before = decided(router, asked(memory)).estimates[0].quality
    memory.feedback("a1", Feedback(rating=1))
    router.heard("a1")
    after = decided(router, asked(memory)).estimates[0].quality
    assert before is not None and after is not None and after < before


def test_a_raters_day_is_bounded_in_memory_too(tmp_path: Path) -> None:
    config = configured(max_labels_per_day=5, explore=0.0)
    with Memory(tmp_path / "capped", embedder=WordEmbedder(), config=config) as memory:
        router = BrainRouter(memory, TIERS, config, seed=0)
        decided(router, asked(memory))
        for i in reversed(range(12)):  # each one takes the place of another
            rated(memory, f"a{i:02}", f"ship {i}", 5)
            router.heard(f"a{i:02}")
        assert router._router is not None and router._router.memory.counts() == [5, 0]


def test_what_feedback_takes_back_counts_no_longer(memory: Memory) -> None:
    rated(memory, "a1", "When does the ship arrive?", 5)
    router = BrainRouter(memory, TIERS, configured(explore=0.0), seed=0)
    decided(router, asked(memory))
    memory.feedback("a1", Feedback(quality=0.9, task_success=False))  # which disagree
    router.heard("a1")
    assert router._router is not None and router._router.memory.counts() == [0, 0]


def test_what_answers_really_cost_is_held_to_the_budget(memory: Memory) -> None:
    config = configured(explore=0.0, calibrate=0.0, safe_default="large", cost_budget=0.5)
    router, one, spent = BrainRouter(memory, TIERS, config, seed=0), asked(memory), 0.0
    for _ in range(60):
        decision = decided(router, one)
        cost = 0.2 if decision.tier == "small" else 1.6
        router.answered(decision, TierOutcome(decision.tier, cost=cost))
        spent += cost
    assert 0.35 < spent / 60 <= 0.5


def test_what_a_tier_that_stood_in_cost_is_held_to_the_budget(memory: Memory) -> None:
    config = configured(explore=0.0, calibrate=0.0, safe_default="large", cost_budget=0.5)
    router, one, spent = BrainRouter(memory, TIERS, config, seed=0), asked(memory), 0.0
    for i in range(60):  # the large tier is down every other time
        decision = decided(router, one)
        answered, cost = ("large", 1.2) if decision.tier == "large" and i % 2 else ("small", 0.06)
        router.answered(decision, TierOutcome(answered, cost=cost))
        spent += cost
    assert 0.35 < spent / 60 <= 0.5


def test_late_answers_make_the_router_expect_later_ones(memory: Memory) -> None:
    router, one = BrainRouter(memory, TIERS, configured(explore=0.0, latency_sla_ms=3000.0), seed=0), asked(memory)
    before = decided(router, one)
    router.answered(before, TierOutcome(before.tier, latency_ms=4000.0))
    after = decided(router, one)
    assert before.chosen.latency_ms is not None and after.chosen.latency_ms is not None
    assert after.chosen.latency_ms > before.chosen.latency_ms


def test_an_answer_of_who_stood_in_says_nothing_of_limits(memory: Memory) -> None:
    router, one = BrainRouter(memory, TIERS, configured(explore=0.0, latency_sla_ms=3000.0), seed=0), asked(memory)
    before = decided(router, one)
    router.answered(before, TierOutcome("large", latency_ms=4000.0))
    assert decided(router, one).chosen.latency_ms == before.chosen.latency_ms


def test_what_was_forgotten_does_not_count_after_a_reading_that_failed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rated(memory, "a1", "When does the ship arrive?", 5)
    router = BrainRouter(memory, TIERS, configured(), seed=0)
    one = asked(memory)
    decided(router, one)
    memory.delete_session("alice")
    router.forget()

    def busy(*_: object, **__: object) -> None:
        raise BrainError("the disk is busy", path=memory.path)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "logged_outcomes", busy)
        with pytest.raises(BrainError):
            decided(router, one)
    decided(router, one)
    assert router._router is not None and len(router._router.memory) == 0


def test_what_was_forgotten_does_not_count(memory: Memory) -> None:
    rated(memory, "a1", "When does the ship arrive?", 1)
    router = BrainRouter(memory, TIERS, configured(), seed=0)
    before = decided(router, asked(memory)).estimates[0].quality
    memory._store.write(lambda c: c.execute("UPDATE tier_outcomes SET quality = NULL, source = NULL").fetchall())
    router.forget()
    after = decided(router, asked(memory)).estimates[0].quality
    assert before is not None and after is not None and after > before


def test_inputs_hold_what_was_asked_and_found(memory: Memory) -> None:
    one = asked(memory, turn=3, constraints=Constraints(max_latency_ms=500.0))
    inputs = inputs_of(one)
    assert (inputs.turn_index, inputs.constraints, inputs.evidence) == (3, one.constraints, None)
    assert inputs.retrieved is not None and inputs.retrieved.vectors is not None
    np.testing.assert_allclose(inputs.retrieved.vectors @ one.vector, inputs.retrieved.similarities, atol=1e-3)
    assert features(inputs).present[60:88].all()


def test_a_question_on_which_memory_holds_nothing_has_inputs_too(tmp_path: Path) -> None:
    with Memory(tmp_path / "empty", embedder=WordEmbedder()) as memory:
        inputs = inputs_of(asked(memory))
    assert features(inputs).present[60:88].sum() == 1


def test_tiers_know_size_place_and_cost() -> None:
    offline = ModelsConfig(offline=True)
    small, unknown, remote = tiers_of(("lfm2-350m", "nowhere", "http://me:hunter2@host/v1#big"), offline)
    assert small.parameters and small.cost == pytest.approx(0.6 * small.parameters / 1e9)
    assert (unknown.parameters, unknown.cost) == (None, 2 * small.cost)
    assert (remote.name, remote.is_local, remote.cost) == ("http://host/v1#big", False, 4 * small.cost)


def test_policy_is_what_is_configured() -> None:
    policy = policy_of(configured(quality_floor=0.75, certified=True, safe_default="large"), ["small", "large"])
    assert (policy.quality_floor, policy.certified, policy.safe_default) == (0.75, True, 1)
    assert policy_of(configured(), ["small", "large"]).safe_default == 0


def test_the_machine_says_how_busy_it_is() -> None:
    found = machine()
    assert found is None or (0.0 < found.free_memory <= 1.0 and found.load >= 0.0 and found.num_cores >= 1)


# -- learning --------------------------------------------------------------------------------------------------------


def filled(memory: Memory, n: int = 240, *, calibrating: int = 0) -> None:
    """Log `n` rated questions of two kinds, of which the small tier does one, and `calibrating` for a certificate."""
    rng = np.random.default_rng(0)
    for i in range(n + calibrating):
        is_easy, calibrates = bool(rng.random() < 0.5), i >= n
        tier = "small" if rng.random() < 0.5 else "large"
        query = f"When does the ship arrive on day {i}?" if is_easy else f"Prove theorem {i} about algebraic groups."
        both = {"small": 0.9 if is_easy else 0.1, "large": 0.9}
        memory.record(routed(f"q{i}", tier, query=query, session=None, calibrates=calibrates))
        if calibrates:
            other = "large" if tier == "small" else "small"
            memory.add_outcomes(f"q{i}", [TierOutcome(other, latency_ms=20.0, answer="Unseen.")])
            for name in both:
                memory.judge_outcome(f"q{i}", name, both[name], source="task")
        else:
            memory.feedback(f"q{i}", Feedback(quality=both[tier]))


def qualities(router: BrainRouter, memory: Memory, query: str) -> list[float | None]:
    """Return what is expected of each tier; the load of the machine is among what it hangs on."""
    return [one.quality for one in decided(router, asked(memory, query)).estimates]


EASY, HARD = "When does the ship arrive on day 999?", "Prove theorem 999 about algebraic groups."
SURE = {"explore": 0.0, "calibrate": 0.0, "quality_floor": 0.6, "confidence_threshold": 0.0, "max_labels_per_day": 1000}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Memory, BrainRouter]]:
    """A brain with a log, rows for a certificate in it, and its trained router."""
    config = configured(**SURE)
    with Memory(tmp_path_factory.mktemp("learnt") / "brain", embedder=WordEmbedder(), config=config) as memory:
        memory.add(["The supply ship arrives every six weeks."])
        filled(memory, calibrating=120)
        router = BrainRouter(memory, TIERS, config, seed=0)
        report = router.train()
        assert report.accepted, report
        yield memory, router


def test_what_was_learnt_routes(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, router = learnt
    easy, hard = decided(router, asked(memory, EASY)), decided(router, asked(memory, HARD))
    assert (easy.tier, easy.checkpoint) == ("small", 1)
    assert hard.tier == "large"


def test_a_reopened_brain_keeps_what_was_learnt(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, router = learnt
    again = BrainRouter(memory, TIERS, configured(**SURE), seed=1)
    assert qualities(again, memory, HARD) == pytest.approx(qualities(router, memory, HARD), abs=0.01)


def test_the_state_of_a_session_goes_with_what_is_forgotten(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    router = BrainRouter(memory, TIERS, configured(**SURE), seed=1)
    decided(router, asked(memory, EASY, session="alice"))
    assert router._router is not None and list(router._router._sessions) == ["alice"]
    router.forget()
    assert not router._router._sessions


def test_a_checkpoint_says_how_it_was_trained(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    saved = Checkpoints(memory.path / "checkpoints" / "router", form=f"router-{FEATURE_VERSION}").current()
    assert saved is not None and saved.about["seed"] == 0
    assert TrainingConfig(**saved.about["training"]) == training_of(configured(**SURE).router)


def test_the_version_in_force_is_known_before_the_first_question(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    assert BrainRouter(memory, TIERS, configured(**SURE)).checkpoint == 1


def test_a_damaged_checkpoint_leaves_the_safe_default(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    path = memory.path / "checkpoints" / "router" / "000001.npz"
    sound = path.read_bytes()
    path.write_bytes(sound[:200])
    try:
        decision = decided(BrainRouter(memory, TIERS, configured(**SURE), seed=1), asked(memory, EASY))
    finally:
        path.write_bytes(sound)
    assert (decision.decided_by, decision.checkpoint) == ("safe default", 0)


def test_a_tier_that_joins_is_known_without_training(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    joined = (*TIERS, TierInfo("huge", 7_000_000_000, 4.0))
    decision = decided(BrainRouter(memory, joined, configured(**SURE), seed=1), asked(memory, EASY))
    assert decision.checkpoint == 1 and [one.tier for one in decision.estimates] == ["small", "large", "huge"]


def test_two_trainings_at_once_are_refused(learnt: tuple[Memory, BrainRouter]) -> None:
    _, router = learnt
    with router._training, pytest.raises(RuntimeError, match="trained already"):
        router.train()


def test_a_log_that_was_learnt_from_is_not_learnt_again(learnt: tuple[Memory, BrainRouter]) -> None:
    _, router = learnt
    assert router.train().reason == "nothing new since version 1"


def test_a_training_that_is_stopped_changes_nothing(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    router = BrainRouter(memory, TIERS, configured(**SURE | {"quality_floor": 0.7}), seed=0)  # nothing learnt for it
    before = qualities(router, memory, EASY)
    assert router.train(cancelled=lambda: True).reason == "training was stopped"
    assert qualities(router, memory, EASY) == pytest.approx(before, abs=0.01)


def test_certified_the_proof_decides_and_ends_with_the_router(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    router = BrainRouter(memory, TIERS, configured(**SURE, certified=True, risk=0.2), seed=1)
    assert decided(router, asked(memory, EASY)).tier == "large"
    verdict = router.certify()
    assert isinstance(verdict, Certificate) and 30 < verdict.rows < 90 and verdict.label_source == "task"
    assert verdict.latency_factor is not None and 0.3 < verdict.latency_factor < 3.0  # all took about as long
    assert decided(router, asked(memory, EASY)).decided_by == "certificate"
    again = BrainRouter(memory, TIERS, configured(**SURE, certified=True, risk=0.2), seed=2)
    assert decided(again, asked(memory, EASY)).decided_by == "certificate"
    stricter = BrainRouter(memory, TIERS, configured(**SURE, certified=True, risk=0.1), seed=2)
    assert decided(stricter, asked(memory, EASY)).tier == "large" and stricter.promise() is None


def test_an_absolute_floor_out_of_reach_is_refused_with_what_could_be(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    strict = SURE | {"quality_floor": 0.95}  # no answer of this brain is so good
    verdict = BrainRouter(memory, TIERS, configured(**strict, certified=True, risk=0.2, loss="absolute")).certify()
    assert isinstance(verdict, Refusal) and verdict.reachable_risk > 0.9
    assert any("largest tier itself misses" in reason for reason in verdict.reasons)


def test_rows_that_break_the_promise_end_it_for_good(tmp_path: Path) -> None:
    config = configured(**SURE, certified=True, risk=0.2)
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config) as memory:
        filled(memory, calibrating=120)
        router = BrainRouter(memory, TIERS, config, seed=0)
        assert router.train().accepted and isinstance(router.certify(), Certificate)
        for i in range(80):  # what was easy is not any more
            created = time.time() + 1.0
            memory.record(routed(f"n{i}", query=EASY, session="alice", calibrates=True, created=created))
            memory.add_outcomes(f"n{i}", [TierOutcome("large", latency_ms=20.0, answer="Unseen.")])
            memory.judge_outcome(f"n{i}", "large", 0.9, source="task")
            memory.judge_outcome(f"n{i}", "small", 0.1, source="task")
            router.heard(f"n{i}")
        assert router.promise() is None
        assert decided(router, asked(memory, EASY)).tier == "large"
        memory.delete_session("alice")
        again = BrainRouter(memory, TIERS, config, seed=1)
        assert decided(again, asked(memory, EASY)).tier == "large" and again.promise() is None


def test_a_certificate_waits_where_another_namespace_is_open(tmp_path: Path) -> None:
    config = configured(**SURE, certified=True, risk=0.2)

    def decided_by(namespace: str) -> str:
        with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config, namespace=namespace) as memory:
            return decided(BrainRouter(memory, TIERS, config, seed=1), asked(memory, EASY)).decided_by

    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config) as memory:
        filled(memory, calibrating=120)
        router = BrainRouter(memory, TIERS, config, seed=0)
        assert router.train().accepted
        verdict = router.certify()
    assert isinstance(verdict, Certificate) and verdict.bound_to["namespace"] == "default"
    assert [decided_by(name) for name in ("other", "default")] == ["safe default", "certificate"]


def test_replacing_what_there_is_to_answer_from_ends_a_certificate(tmp_path: Path) -> None:
    config = configured(**SURE, certified=True, risk=0.2)
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config) as memory:
        memory.add([{"text": "The supply ship is red.", "source": "old"}])
        filled(memory, calibrating=120)
        router = BrainRouter(memory, TIERS, config, seed=0)
        assert router.train().accepted and isinstance(router.certify(), Certificate)
        memory.forget("old")
        memory.add([{"text": "The supply ship is blue.", "source": "new"}])
        router.forget()
        assert decided(router, asked(memory, EASY)).tier == "large" and router.promise() is None


def test_too_few_rows_prove_nothing(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    router = BrainRouter(memory, TIERS, configured(**SURE, certified=True, risk=0.001), seed=1)
    verdict = router.certify()
    assert isinstance(verdict, Refusal) and "too few" in verdict.reasons[0]
    assert decided(router, asked(memory, EASY)).tier == "large"


def test_what_somebody_chose_to_say_proves_nothing(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    router = BrainRouter(memory, TIERS, configured(**SURE, certified=True, risk=0.2), seed=1)
    before = router.certify()
    for logged in memory.route_log(500):
        if logged.decision is not None and logged.decision.calibrates:
            memory.feedback(logged.id, Feedback(rating=5))
    after = router.certify()
    assert isinstance(before, Certificate) and isinstance(after, Certificate)
    assert after.rows == before.rows and after.shares[0] <= before.shares[0]  # a later attempt is stricter


def test_versions_are_judged_on_spans_of_the_log(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, _ = learnt
    found = forgetting_of(memory, default_tier="small")
    assert found is not None and found.versions == (1,) and found.forgotten is None
    assert len(found.right[0]) == 5 and min(found.right[0]) > 0.8


def test_rolling_back_the_only_version_leaves_the_safe_default(learnt: tuple[Memory, BrainRouter]) -> None:
    memory, router = learnt
    assert router.rollback() == 0
    assert router.train().reason == "nothing new since version 1, which was taken back"
    assert decided(router, asked(memory, EASY)).decided_by == "safe default"


def test_nothing_trained_nothing_certified(memory: Memory) -> None:
    verdict = BrainRouter(memory, TIERS, configured(), seed=0).certify()
    assert isinstance(verdict, Refusal) and "nothing to certify" in verdict.reasons[0]


def test_an_empty_log_teaches_nothing(memory: Memory) -> None:
    assert BrainRouter(memory, TIERS, configured(), seed=0).train().reason == "nothing was rated yet"


def test_scores_of_a_certificate_are_those_that_decide(tmp_path: Path) -> None:
    config = configured(**SURE, safe_default="small")
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config) as memory:
        filled(memory, calibrating=20)
        router = BrainRouter(memory, TIERS, config, seed=0)
        assert router.train().accepted
        logged = router._logged()
        rows = rows_of(logged, np.flatnonzero(logged.calibrates)[:5])
        assert router._router is not None
        scores = router._expected(rows, router._router).quality
        for row, text in zip(scores, rows.texts, strict=True):
            inputs = RouterInputs(text, vector=memory.encode([text])[0], default_tier=0)
            decision = router._router.decide(inputs, Constraints())
            assert [one.quality for one in decision.estimates] == pytest.approx(row.tolist(), abs=1e-3)


def test_another_embedder_leaves_the_safe_default_until_training(tmp_path: Path) -> None:
    config = configured(**SURE)
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=config) as memory:
        filled(memory)
        assert BrainRouter(memory, TIERS, config, seed=0).train().accepted
    checkpoint = tmp_path / "brain" / "checkpoints" / "router" / "000001.npz"
    other = WordEmbedder(96, "words-96")
    with Memory(tmp_path / "other", embedder=other, config=config) as memory:
        filled(memory)
        target = memory.path / "checkpoints" / "router"
        target.mkdir(parents=True)
        (target / checkpoint.name).write_bytes(checkpoint.read_bytes())
        (target / "current").write_text("1")
        router = BrainRouter(memory, TIERS, config, seed=0)
        assert decided(router, asked(memory, EASY)).checkpoint == 0
        assert router.train().accepted and decided(router, asked(memory, EASY)).checkpoint == 2


# -- temperature and top_p ---------------------------------------------------------------------------------------------


def drawn_answers(memory: Memory, n: int, better: float) -> None:
    """Log rated answers whose temperature was drawn: those at `better` are good, half of the others are."""
    rng = np.random.default_rng(0)
    router = BrainRouter(memory, TIERS, configured(explore_sampling=1.0, calibrate=0.0), seed=0)
    decision = decided(router, asked(memory))
    for i in range(n):
        setting = router._settings[int(rng.integers(3))]
        one = replace(decision, temperature=setting.temperature, top_p=setting.top_p, sampling_chance=1.0 / 3.0)
        route = Route("m", 512, setting.temperature, setting.top_p)
        quality = 1.0 if setting.temperature == better else float(rng.integers(2))
        outcome = TierOutcome(one.tier, quality, 20.0, source="judge")
        memory.record(interaction(f"d{i}", query=f"ship {i}", decision=one, outcome=outcome, route=route))


def test_settings_are_drawn_with_their_chance(memory: Memory) -> None:
    router, one = BrainRouter(memory, TIERS, configured(explore_sampling=0.5, calibrate=0.0), seed=0), asked(memory)
    made = [decided(router, one) for _ in range(400)]
    drawn = [each for each in made if each.sampling_chance is not None]
    assert abs(len(drawn) / 400 - 0.5) < 0.1 and {each.sampling_chance for each in drawn} == {1.0 / 3.0}
    assert {each.temperature for each in drawn} == {0.0, 0.4, 0.8}
    assert all(each.temperature is None for each in made if each.sampling_chance is None)


@pytest.mark.parametrize("never", [{"explore_sampling": 0.0}, {"explore": 0.0}, {"certified": True}])
def test_settings_stay_where_nothing_is_drawn(memory: Memory, never: dict[str, object]) -> None:
    router = BrainRouter(memory, TIERS, configured(**{"explore_sampling": 1.0, "calibrate": 0.0} | never), seed=0)
    assert {decided(router, asked(memory)).temperature for _ in range(20)} == {None}


def test_what_draws_prove_better_is_used(memory: Memory) -> None:
    drawn_answers(memory, 600, better=0.4)
    router = BrainRouter(memory, TIERS, configured(explore=0.0, explore_sampling=0.01), seed=0)
    decision = decided(router, asked(memory))
    assert (decision.temperature, decision.top_p, decision.sampling_chance) == (0.4, 0.9, None)
    proof = router.sampling()
    assert proof is not None and proof.rated == 600 and proof.gain.low > 0.0


def test_a_request_that_states_its_own_settings_teaches_nothing(memory: Memory) -> None:
    router = BrainRouter(memory, TIERS, configured(explore_sampling=1.0, calibrate=0.0), seed=0)
    decision = decided(router, asked(memory))
    memory.record(interaction("a1", query="ship", decision=decision, route=Route("m", 512, 1.3, 0.7)))
    assert memory.sampling_draws() == {}
