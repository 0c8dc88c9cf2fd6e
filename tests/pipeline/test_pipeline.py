"""One request from question to response, with a fake reader and embedder whose every step is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

from ruvllm.config import Config, LimitsConfig, load_config
from ruvllm.errors import EngineError, ModelMissing
from ruvllm.inference import Engine
from ruvllm.inference.engine import Piece
from ruvllm.inference.runtime_engine import Probe
from ruvllm.memory import Concept, Memory
from ruvllm.orchestrator import SpareTime
from ruvllm.pipeline import AnswerStream, Pipeline, default_context
from ruvllm.routing import Asked, shown
from ruvllm.types import (
    Constraints,
    Decision,
    GenerationOptions,
    Message,
    Request,
    Response,
    TierEstimate,
    TierOutcome,
)

QUESTION = "When does the supply ship arrive?"
TEXTS = [
    "The supply ship arrives every six weeks.",
    "Bread is baked on Fridays by the cook.",
    "Terns nest on the high cliffs.",
]
CONFIG = Config()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), config=CONFIG) as memory:
        memory.add(TEXTS)
        yield memory


def pipeline(memory: Memory, engine: Callable[[], Engine], config: Config = CONFIG) -> Pipeline:
    return Pipeline(memory, lambda tier, **_: nullcontext(engine()), config)


def ask(pipeline: Pipeline, request: Request) -> Response:
    return AnswerStream(pipeline.run(request, lambda: False)).response


def test_stages_are_timed_and_the_route_is_the_stated_default(memory: Memory) -> None:
    response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
    assert {"embed", "retrieve", "prompt", "generate", "first_token", "total"} <= response.timings_ms.keys()
    assert (response.route.model, response.route.decided_by) == ("echo", "default")
    assert response.confidence == pytest.approx(0.9)
    assert response.sources[0].text == TEXTS[0]


def test_the_engine_sees_the_sources_and_ends_on_the_question(memory: Memory) -> None:
    engine = EchoEngine()
    ask(pipeline(memory, lambda: engine), Request(QUESTION))
    content = engine.asked[0][-1].content
    assert TEXTS[0] in content and content.endswith(QUESTION)


def test_the_reader_is_held_until_the_stream_is_closed(memory: Memory) -> None:
    lease = _Lease()
    stream = AnswerStream(Pipeline(memory, lambda tier, **_: lease, CONFIG).run(Request(QUESTION), lambda: False))
    next(stream)
    assert lease.is_held
    stream.close()
    assert not lease.is_held


class _Lease(AbstractContextManager[Engine]):
    is_held = False

    def __enter__(self) -> Engine:
        self.is_held = True
        return EchoEngine()

    def __exit__(self, *error: object) -> None:
        self.is_held = False


def test_an_unsure_reader_gives_way_to_the_best_passage(memory: Memory) -> None:
    unsure = EchoEngine(probability=0.2)
    response = ask(pipeline(memory, lambda: unsure), Request(QUESTION))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert response.draft and response.confidence == pytest.approx(0.2)
    assert [s.text for s in response.sources if s.used] == [TEXTS[0]]


def test_an_answer_to_a_schema_is_never_replaced_by_a_passage(memory: Memory) -> None:
    options = GenerationOptions(json_schema={"type": "string"})
    response = ask(pipeline(memory, lambda: EchoEngine(probability=0.2)), Request(QUESTION, options=options))
    assert response.finish_reason != "extract" and response.draft is None


def test_no_reader_is_said_and_quoted_instead(memory: Memory) -> None:
    def missing() -> Engine:
        raise ModelMissing("model x is not in the cache", model="x")

    stream = AnswerStream(pipeline(memory, missing).run(Request(QUESTION), lambda: False))
    streamed, response = "".join(stream), stream.response
    assert streamed == response.text
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert response.route.model == "none" and "model x" in response.warnings[0]


def test_an_empty_memory_is_said(tmp_path: Path) -> None:
    with Memory(tmp_path / "empty", embedder=WordEmbedder(), config=CONFIG) as memory:
        response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
        unsure = EchoEngine(probability=0.1)
        nothing = ask(pipeline(memory, lambda: unsure), Request(QUESTION))
    assert response.sources == () and "holds nothing" in response.warnings[0]
    assert nothing.text.startswith("I do not know")


class _FailingEngine(EchoEngine):
    def stream(self, *args: object, **kwargs: object) -> Iterator[object]:  # type: ignore[override]
        yield from list(super().stream(*args, **kwargs))[:1]  # type: ignore[arg-type]
        raise EngineError("the weights caught fire", engine=self.name)


def test_an_engine_that_fails_in_mid_stream_is_an_error_and_leaves_no_record(memory: Memory) -> None:
    stream = AnswerStream(pipeline(memory, _FailingEngine).run(Request(QUESTION, session="a"), lambda: False))
    with pytest.raises(EngineError, match="caught fire"):
        _ = stream.response
    memory.flush()
    assert memory.turns("a") == []


def test_cancelling_stops_between_tokens_and_leaves_no_record(memory: Memory) -> None:
    cancelled = threading.Event()
    stream = AnswerStream(pipeline(memory, EchoEngine).run(Request(QUESTION, session="a"), cancelled.is_set))
    next(stream)
    cancelled.set()
    assert stream.response.finish_reason == "cancelled"
    memory.flush()
    assert memory.turns("a") == []


def test_turns_of_the_session_are_in_the_next_prompt(memory: Memory) -> None:
    engine = EchoEngine()
    reader = pipeline(memory, lambda: engine)
    first = ask(reader, Request("Who bakes bread?", session="a"))
    ask(reader, Request("On which days?", session="a"))
    ask(reader, Request("On which days?", session="b"))
    asked = [[m.content for m in messages] for messages in engine.asked]
    assert "Who bakes bread?" in asked[1] and first.text in asked[1]
    assert "Who bakes bread?" not in asked[2]


def test_a_filter_limits_the_sources(memory: Memory) -> None:
    memory.add([{"text": "The supply ship is painted red.", "metadata": {"tags": ["paint"]}}])
    request = Request(QUESTION, filter={"tags": "paint"})
    response = ask(pipeline(memory, EchoEngine), request)
    assert [s.text for s in response.sources] == ["The supply ship is painted red."]


@pytest.mark.parametrize(
    ("query", "error"),
    [("", ValueError), (" \n", ValueError), ("\ud800", ValueError), (3, TypeError), (None, TypeError)],
)
def test_what_is_not_a_question_is_refused_before_any_work(memory: Memory, query: object, error: type) -> None:
    with pytest.raises(error, match="query"):
        ask(pipeline(memory, EchoEngine), Request(query))  # type: ignore[arg-type]


def test_context_grows_with_the_reader_and_the_question() -> None:
    options = GenerationOptions(max_new_tokens=64)
    small, large = EchoEngine(context_tokens=4096), EchoEngine(context_tokens=4096)
    small.parameters = 135_000_000
    assert default_context("why?", small, options, 0) < default_context("why?", large, options, 0)
    assert default_context("why? " * 400, small, options, 0) > 800
    assert default_context("why?", small, options, 700) == 700
    narrow = EchoEngine(context_tokens=200)
    assert default_context("why?", narrow, options, 0) == 136


@pytest.mark.parametrize("length", range(20, 1000, 70))
def test_a_question_of_any_length_leaves_room_for_sources(memory: Memory, length: int) -> None:
    engine = EchoEngine(context_tokens=4096)
    engine.parameters = 135_000_000
    response = ask(pipeline(memory, lambda: engine), Request(f"{'well, ' * length}{QUESTION}"))
    assert response.sources and response.warnings == ()


class _RepeatingEngine(EchoEngine):
    def _pieces(self, *args: Any) -> Iterator[Piece]:
        yield Piece("the engineer Karl Friis", (-0.1,))
        yield Piece("", (), "stop", 100, 1)


def test_who_repeats_the_example_of_the_prompt_is_not_believed(memory: Memory) -> None:
    response = ask(pipeline(memory, _RepeatingEngine), Request(QUESTION))
    assert response.draft == "the engineer Karl Friis" and response.finish_reason == "extract"
    assert response.warnings == ("generate: the model repeated the example of the prompt",)


def test_a_stream_that_was_closed_has_no_response(memory: Memory) -> None:
    stream = AnswerStream(pipeline(memory, EchoEngine).run(Request(QUESTION), lambda: False))
    next(stream)
    stream.close()
    stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        _ = stream.response


def test_reading_only_still_answers(tmp_path: Path) -> None:
    with Memory(tmp_path / "b", embedder=WordEmbedder(), config=CONFIG) as memory:
        memory.add(TEXTS)
    config = msgspec.structs.replace(CONFIG)
    with Memory(tmp_path / "b", embedder=WordEmbedder(), config=config, read_only=True) as memory:
        response = ask(pipeline(memory, EchoEngine), Request(QUESTION))
    assert response.sources[0].text == TEXTS[0]
    assert any("not remembered" in warning for warning in response.warnings)


def test_an_answer_longer_than_the_window_is_refused_by_its_name(memory: Memory) -> None:
    options = GenerationOptions(max_new_tokens=10_000)
    with pytest.raises(ValueError, match="max_new_tokens"):
        ask(pipeline(memory, EchoEngine), Request(QUESTION, options=options))


# -- several tiers -----------------------------------------------------------------------------------------------------

REMOTE = "http://me:hunter2@host/v1#big"
TIERS = ("small", "large", REMOTE)
ROUTED = load_config(environment={}, overrides={"models": {"tiers": TIERS}, "generation": {"model": "small"}})


class _Chooses:
    """A router that takes one tier whatever it is asked, and keeps what it was asked."""

    def __init__(self, tier: str = "large", *, probes: bool = False, **fields: object) -> None:
        self.tier = tier
        self.probes = probes
        self.fields = fields
        self.asked: list[Asked] = []
        self.seen: tuple[Probe, int] | None = None
        self.checkpoint = 7
        self.came_of_it: list[tuple[str, TierOutcome]] = []

    def decide(self, asked: Asked, *, probe: Callable[[], tuple[Probe, int] | None]) -> Decision:
        self.asked.append(asked)
        if self.probes:
            self.seen = probe()
        others = 0.0 if self.fields.get("calibrates") else 0.5 / (len(asked.tiers) - 1)
        shares = {tier: others for tier in asked.tiers} | {self.tier: 1.0 - others * (len(asked.tiers) - 1)}
        estimates = tuple(TierEstimate(tier, 0.0, share, quality=0.25) for tier, share in shares.items())
        values = {"checkpoint": 7, "reason": "because", "confidence": 0.75} | self.fields
        return Decision(estimates, self.tier, bytes(512), bytes(16), 1, **values)  # type: ignore[arg-type]

    def answered(self, decision: Decision, outcome: TierOutcome) -> None:
        self.came_of_it.append((decision.tier, outcome))


class _Tiers:
    """Lends an echo of each tier's own name; those of `down` fail with their error, when lent or in mid-stream."""

    def __init__(self, **down: Exception) -> None:
        self.down = down
        self.lent: list[str] = []
        self.engines = {tier: _Sized(name=tier) for tier in TIERS}

    def __call__(self, tier: str, *, timeout_s: float | None, **_: Any) -> AbstractContextManager[Engine]:
        self.lent.append(tier)
        if tier in self.down:
            raise self.down[tier]
        return nullcontext(self.engines[tier])


class _Sized(EchoEngine):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.parameters = 1_000_000_000

    def probe(self, messages: Sequence[Message], *, max_tokens: int) -> Probe:
        return Probe(0.5, 0.25, 1.0, -2.0)


def routed(memory: Memory, tiers: _Tiers, router: _Chooses, request: Request | None = None) -> Response:
    return ask(Pipeline(memory, tiers, ROUTED, router=router), request or Request(QUESTION))


def test_the_router_is_told_what_an_answer_took(memory: Memory) -> None:
    router = _Chooses()
    routed(memory, _Tiers(), router)
    ((tier, outcome),) = router.came_of_it
    assert tier == outcome.tier == "large" and outcome.cost and outcome.latency_ms


def test_the_chosen_tier_answers_and_the_route_says_why(memory: Memory) -> None:
    tiers = _Tiers()
    response = routed(memory, tiers, _Chooses("large"))
    assert (tiers.lent, response.route.model, response.route.tier) == (["large"], "large", "large")
    assert (response.route.decided_by, response.route.reason, response.route.checkpoint) == ("router", "because", 7)
    assert (response.route.confidence, response.route.quality) == (0.75, 0.25)
    assert "route" in response.timings_ms and response.warnings == ()


def test_a_decision_is_kept_with_what_the_answer_took(memory: Memory) -> None:
    response = routed(memory, _Tiers(), _Chooses("large"))
    logged = memory.routed(response.id)
    (outcome,) = logged.outcomes
    assert logged.decision is not None and logged.decision.tier == "large"
    assert (outcome.tier, outcome.quality, outcome.tokens) == ("large", None, response.completion_tokens)
    assert outcome.cost == pytest.approx((response.prompt_tokens + response.completion_tokens) / 1e3)
    assert outcome.latency_ms is not None and 0 < outcome.latency_ms <= response.timings_ms["generate"]


def test_the_router_sees_what_memory_has_and_no_password(memory: Memory) -> None:
    router, constraints = _Chooses(), Constraints(max_latency_ms=500.0)
    for _ in range(2):
        routed(memory, _Tiers(), router, Request(QUESTION, session="a", constraints=constraints))
    first, second = router.asked
    assert first.tiers == ("small", "large", "http://host/v1#big")
    assert first.hits[0].node.text == TEXTS[0] and first.hit_vectors.shape == (3, 64)
    assert (first.turn, second.turn, second.session) == (0, 1, "a")
    assert first.constraints is constraints and first.vector.shape == (64,)


def test_a_chosen_endpoint_is_asked_with_its_password(memory: Memory) -> None:
    tiers = _Tiers()
    response = routed(memory, tiers, _Chooses("http://host/v1#big"))
    assert tiers.lent == [REMOTE]
    assert "hunter2" not in repr(memory.routed(response.id))


def test_the_smallest_local_tier_looks_first_when_the_router_wants_it(memory: Memory) -> None:
    tiers, router = _Tiers(), _Chooses("large", probes=True)
    routed(memory, tiers, router)
    assert tiers.lent == ["small", "large"]
    assert router.seen == (Probe(0.5, 0.25, 1.0, -2.0), 7)


def test_a_probe_that_was_cancelled_is_no_failure_of_the_router(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ruvllm.pipeline")
    with pytest.raises(CancelledError):
        routed(memory, _Tiers(small=CancelledError()), _Chooses("large", probes=True))
    assert not caplog.records


def test_a_probe_that_fails_costs_nothing_but_its_answer(memory: Memory) -> None:
    router = _Chooses("large", probes=True)
    response = routed(memory, _Tiers(small=ModelMissing("gone", model="small")), router)
    assert router.seen is None and response.route.tier == "large" and response.warnings == ()


@pytest.mark.parametrize("error", [ModelMissing("gone", model="large"), TimeoutError("busy")])
def test_a_tier_that_is_down_gives_way_to_the_next(memory: Memory, error: Exception) -> None:
    tiers = _Tiers(large=error)
    response = routed(memory, tiers, _Chooses("large"))
    assert tiers.lent == ["large", REMOTE]
    assert (response.route.tier, response.route.decided_by) == ("http://host/v1#big", "fallback")
    assert response.warnings == (f"generate: large did not answer: {error}",)
    decision = memory.routed(response.id).decision
    assert decision is not None
    assert [one.propensity for one in decision.estimates] == [0.25, 0.0, 0.75]


def test_the_router_is_told_who_stood_in_for_whom_it_chose(memory: Memory) -> None:
    router = _Chooses("large")
    routed(memory, _Tiers(large=TimeoutError("busy")), router)
    ((tier, outcome),) = router.came_of_it
    assert (tier, outcome.tier) == ("large", "http://host/v1#big")


def test_a_tier_that_fails_before_its_first_word_gives_way_too(memory: Memory) -> None:
    tiers = _Tiers()
    tiers.engines["large"] = _Mute(name="large")
    assert routed(memory, tiers, _Chooses("large")).route.tier == "http://host/v1#big"


class _Mute(_Sized):
    def _pieces(self, *args: object) -> Iterator[object]:  # type: ignore[override]
        raise EngineError("no memory left", engine=self.name)
        yield


def test_a_tier_that_fails_in_mid_sentence_is_an_error(memory: Memory) -> None:
    tiers = _Tiers()
    tiers.engines["large"] = _Halting(name="large")
    with pytest.raises(EngineError, match="no memory left"):
        routed(memory, tiers, _Chooses("large"))
    assert tiers.lent == ["large"] and memory.route_log() == []


class _Halting(_Sized):
    def _pieces(self, *args: object) -> Iterator[object]:  # type: ignore[override]
        yield next(super()._pieces(*args))  # type: ignore[arg-type]
        raise EngineError("no memory left", engine=self.name)


def test_where_all_tiers_are_missing_the_best_passage_is_quoted(memory: Memory) -> None:
    gone = {tier: ModelMissing("gone", model=tier) for tier in TIERS}
    response = routed(memory, _Tiers(**gone), _Chooses("small"))
    assert response.finish_reason == "extract" and TEXTS[0] in response.text
    assert (response.route.model, len(response.warnings)) == ("none", 3)


def test_where_all_tiers_fail_the_last_error_is_raised(memory: Memory) -> None:
    broken = {tier: EngineError(f"{tier} broke", engine=tier) for tier in TIERS}
    with pytest.raises(EngineError, match="small broke"):
        routed(memory, _Tiers(**broken), _Chooses("large"))


def test_a_private_question_reaches_no_endpoint(memory: Memory) -> None:
    tiers, router = _Tiers(large=TimeoutError("busy")), _Chooses("large")
    private = Request(QUESTION, constraints=Constraints(privacy="local"))
    response = routed(memory, tiers, router, private)
    assert router.asked[0].tiers == ("small", "large")
    assert tiers.lent == ["large", "small"] and response.route.tier == "small"


def test_what_was_private_is_kept_from_an_endpoint_later(memory: Memory) -> None:
    tiers, router, local = _Tiers(), _Chooses("large"), Constraints(privacy="local")
    line = Pipeline(memory, tiers, ROUTED, router=router)
    secret, other = "Which cliffs do terns nest on?", "Who bakes bread on Fridays?"
    ask(line, Request(secret, session="s", constraints=local))
    ask(line, Request(other, session="s"))  # a local model was shown the secret: what it says may hold it
    assert secret in "".join(message.content for message in tiers.engines["large"].asked[-1])
    memory.flush()
    assert [turn.is_private for turn in memory.turns("s")] == [True, True]
    ask(line, Request(QUESTION, session="t"))
    router.tier = shown(REMOTE)
    for session, kept in (("s", 4), ("t", 0)):  # two turns, and their answers among what is found
        response = ask(line, Request(QUESTION, session=session))
        said = "".join(message.content for message in tiers.engines[REMOTE].asked[-1])
        assert secret not in said and other not in said and QUESTION in said
        hidden = [warning for warning in response.warnings if "private turns and sources were kept" in warning]
        assert hidden == ([f"prompt: {kept} private turns and sources were kept from the endpoint"] if kept else [])
    memory.flush()
    assert [turn.is_private for turn in memory.turns("t")] == [False, False]


def test_a_private_document_is_kept_from_an_endpoint(memory: Memory) -> None:
    memory.add([{"text": "The supply ship arrives with the spring tide.", "metadata": {"private": True}}])
    tiers, router = _Tiers(), _Chooses(shown(REMOTE))
    for tier, is_shown in ((REMOTE, False), ("large", True)):
        router.tier = shown(tier)
        response = routed(memory, tiers, router)
        said = "".join(message.content for message in tiers.engines[tier].asked[-1])
        assert ("spring tide" in said) == is_shown == any("spring tide" in one.text for one in response.sources)


def test_a_concept_of_something_private_is_kept_from_an_endpoint(memory: Memory) -> None:
    memory.add([{"text": "The ship arrives with the spring tide.", "metadata": {"private": True}}])
    ids = [hit.node.id for hit in memory.search("ship arrives", k=2)]
    memory.put_concept(Concept("When the supply ship arrives is a spring tide matter."), dict.fromkeys(ids, 0.9))
    tiers, router = _Tiers(), _Chooses(shown(REMOTE))
    for tier, is_shown in ((REMOTE, False), ("large", True)):
        router.tier = shown(tier)
        routed(memory, tiers, router)
        said = "".join(message.content for message in tiers.engines[tier].asked[-1])
        assert ("a spring tide matter" in said) == is_shown


@pytest.mark.parametrize(
    ("tiers", "model", "answered"),
    [((), REMOTE, "none"), (("small", REMOTE), REMOTE, "small")],
)
def test_privacy_holds_without_a_choice_too(memory: Memory, tiers: tuple[str, ...], model: str, answered: str) -> None:
    overrides = {"models": {"tiers": tiers}, "generation": {"model": model}}
    config = load_config(environment={}, overrides=overrides)
    private = Request(QUESTION, constraints=Constraints(privacy="local"))
    response = ask(Pipeline(memory, _Tiers(), config, router=_Chooses("small")), private)
    assert response.route.model == answered
    assert ("privacy 'local'" in "".join(response.warnings)) == (answered == "none")


def test_one_tier_is_no_choice_and_its_outcome_is_kept(memory: Memory) -> None:
    router = _Chooses("echo")
    response = ask(
        Pipeline(memory, lambda tier, **_: nullcontext(EchoEngine()), CONFIG, router=router), Request(QUESTION)
    )
    logged = memory.routed(response.id)
    assert router.asked == [] and response.route.decided_by == "default"
    assert response.route.reason == "there is one tier"
    assert logged.decision is None and logged.outcomes[0].tier == CONFIG.generation.model


def test_without_a_router_the_default_tier_answers_and_says_so(memory: Memory) -> None:
    tiers = _Tiers()
    route = ask(Pipeline(memory, tiers, ROUTED), Request(QUESTION)).route
    assert (tiers.lent, route.tier, route.reason) == (["small"], "small", "the router is switched off")


def test_the_decision_sets_context_and_sampling_unless_the_caller_did(memory: Memory) -> None:
    router = _Chooses("large", context_tokens=256, temperature=0.5, top_p=0.75)
    route = routed(memory, _Tiers(), router).route
    assert (route.context_tokens, route.temperature, route.top_p) == (256, 0.5, 0.75)
    own = Request(QUESTION, options=GenerationOptions(temperature=1.0, max_new_tokens=64))
    assert routed(memory, _Tiers(), router, own).route.temperature == 1.0


def test_constraints_of_another_type_are_refused(memory: Memory) -> None:
    with pytest.raises(TypeError, match="constraints must be Constraints, not dict"):
        ask(pipeline(memory, EchoEngine), Request(QUESTION, constraints={}))  # type: ignore[arg-type]


def test_where_a_decision_calibrates_every_tier_answers_after_the_response(memory: Memory) -> None:
    tiers, spare = _Tiers(), SpareTime()
    reader = Pipeline(memory, tiers, ROUTED, router=_Chooses("large", calibrates=True), spare_time=spare)
    with spare.request():
        response = ask(reader, Request(QUESTION))
        assert tiers.lent == ["large"]
    spare.flush()
    spare.close()
    outcomes = memory.routed(response.id).outcomes
    assert tiers.lent == ["large", "small", REMOTE]
    assert {one.tier: one.answer is None for one in outcomes} == {
        "large": True, "small": False, "http://host/v1#big": False,
    }  # fmt: skip
    assert all(one.quality is None and one.latency_ms for one in outcomes)
    assert memory.stats().interactions == 1


def test_a_tier_that_is_down_is_missing_in_a_calibration(memory: Memory) -> None:
    tiers, spare = _Tiers(small=TimeoutError("busy")), SpareTime()
    reader = Pipeline(memory, tiers, ROUTED, router=_Chooses("large", calibrates=True), spare_time=spare)
    response = ask(reader, Request(QUESTION))
    spare.flush()
    spare.close()
    assert {one.tier for one in memory.routed(response.id).outcomes} == {"large", "http://host/v1#big"}


def test_nothing_calibrates_where_nobody_has_the_time(memory: Memory) -> None:
    response = routed(memory, _Tiers(), _Chooses("large", calibrates=True))
    decision = memory.routed(response.id).decision
    assert decision is not None and not decision.calibrates


def test_what_is_not_remembered_calibrates_nothing(memory: Memory) -> None:
    tiers, spare = _Tiers(), SpareTime()
    limited = msgspec.structs.replace(ROUTED, limits=LimitsConfig(writebacks_per_minute=1))
    reader = Pipeline(memory, tiers, limited, router=_Chooses("large", calibrates=True), spare_time=spare)
    with spare.request():
        for i in range(3):
            ask(reader, Request(f"{QUESTION} {i}"))
    spare.flush()
    spare.close()
    assert tiers.lent == ["large", "large", "large", "small", REMOTE]


def test_an_answer_that_was_deleted_meanwhile_calibrates_nothing(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    tiers, spare = _Tiers(), SpareTime()
    reader = Pipeline(memory, tiers, ROUTED, router=_Chooses("large", calibrates=True), spare_time=spare)
    with spare.request():
        ask(reader, Request(QUESTION, session="alice"))
        memory.delete_session("alice")
    spare.flush()
    spare.close()
    assert tiers.lent == ["large", "small"] and not [one for one in caplog.records if one.exc_info]


def test_a_private_question_is_calibrated_in_private(memory: Memory) -> None:
    tiers, spare = _Tiers(), SpareTime()
    reader = Pipeline(memory, tiers, ROUTED, router=_Chooses("large", calibrates=True), spare_time=spare)
    ask(reader, Request(QUESTION, constraints=Constraints(privacy="local")))
    spare.flush()
    spare.close()
    assert tiers.lent == ["large", "small"]
