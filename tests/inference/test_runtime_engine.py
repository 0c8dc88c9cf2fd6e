"""What our own runtime adds to the engine's contract: caches of conversations, shared passes, scores and probes."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from kernels.runtime_cases import write_model_bin
from models import converted
from models.lfm2_numpy import read_model_bin

from ruvllm.errors import EngineError, ModelDamaged, ModelUnsupported
from ruvllm.inference import complete, confidence
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.kernels import RuntimeModel
from ruvllm.models import read_card
from ruvllm.types import GenerationOptions, Message

from .model_file import count_parameters

STORY = [Message("user", "Tell me a story about a fox and the sea.")]
GREEDY = GenerationOptions(max_new_tokens=12)
HOT = GenerationOptions(max_new_tokens=12, temperature=1.5)


@pytest.fixture
def read_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass over the weights reads, from now on."""
    lengths: list[int] = []
    advance = RuntimeModel.advance

    def counted(self: RuntimeModel, sessions: Sequence, ids: Sequence, **wanted: object) -> object:
        lengths.append(sum(map(len, ids)))
        return advance(self, sessions, ids, **wanted)  # type: ignore[call-overload]

    monkeypatch.setattr(RuntimeModel, "advance", counted)
    return lengths


def prompt_ids(engine: RuntimeEngine, messages: Sequence[Message]) -> list[int]:
    return list(engine._template.encode(messages))


def log_probs(engine: RuntimeEngine, ids: Sequence[int]) -> np.ndarray:
    """Return (len(ids), tokens) log-probabilities of what follows each of them, in one pass."""
    session = engine._open().model.session(context_tokens=4096)
    logits = engine._open().model.advance([session], [np.array(ids, np.int32)], want="all_logits")
    logits = logits[:, : engine._num_tokens].astype(np.float64)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


@pytest.fixture(params=["tiny llama", "tiny lfm2"])
def tiny(request: pytest.FixtureRequest) -> RuntimeEngine:
    """A random decoder of each kind."""
    found: RuntimeEngine = request.getfixturevalue(request.param.replace(" ", "_"))
    return found


# --- conversations ----------------------------------------------------------------------------------------------------


def test_kv_cache_reuse(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    """The second turn reads what is new in it: the answer's end and the next question."""
    answer = complete(tiny, STORY, GREEDY)
    second = [*STORY, Message("assistant", answer.text), Message("user", "And then?")]
    first_ids, second_ids = prompt_ids(tiny, STORY), prompt_ids(tiny, second)
    shared = len(first_ids) + answer.completion_tokens - 1  # the last token of an answer was not read
    read_tokens.clear()
    complete(tiny, second, GenerationOptions(max_new_tokens=1))
    assert sum(read_tokens) <= len(second_ids) - shared + 1 < len(second_ids) / 2


def test_a_reused_cache_changes_no_word(tiny: RuntimeEngine, tiny_llama_dir: Path, tiny_lfm2_dir: Path) -> None:
    fresh = RuntimeEngine(tiny_llama_dir if "llama" in tiny.name else tiny_lfm2_dir, cache_bytes=0)
    messages = list(STORY)
    for question in ("And then?", "Who said so?", "Why?"):
        answer = complete(tiny, messages, GREEDY)
        assert answer == complete(fresh, messages, GREEDY)
        messages += [Message("assistant", answer.text), Message("user", question)]
    assert fresh.cache_nbytes() == 0
    fresh.close()


def test_the_same_prompt_again_reads_one_token(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    first = complete(tiny, STORY, GREEDY)
    read_tokens.clear()
    assert complete(tiny, STORY, GREEDY) == first
    assert read_tokens[0] == 1 and len(read_tokens) <= 12


def test_a_shared_beginning_is_copied_for_another_conversation(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    system = Message("system", "You answer in one word, from the sources, and you never guess. " * 3)
    questions = [[system, Message("user", text)] for text in ("Who?", "Where is it now?")]
    complete(tiny, questions[0], GenerationOptions(max_new_tokens=80))
    read_tokens.clear()
    complete(tiny, questions[1], GenerationOptions(max_new_tokens=1))
    assert sum(read_tokens) < 40 < len(prompt_ids(tiny, questions[1]))


def test_caches_stay_within_their_bytes(tiny_lfm2_dir: Path) -> None:
    engine = RuntimeEngine(tiny_lfm2_dir, cache_bytes=200_000)
    for i in range(12):
        complete(engine, [Message("user", f"{i} is the number of this conversation")], GREEDY)
        assert engine.cache_nbytes() <= 200_000
    assert engine.cache_nbytes() > 0
    engine.close()
    assert engine.cache_nbytes() == 0


def test_the_least_recently_used_conversation_goes_first(tiny_lfm2_dir: Path, read_tokens: list[int]) -> None:
    engine = RuntimeEngine(tiny_lfm2_dir, cache_bytes=2**30)
    talks = [[Message("user", f"{i}{i}{i} is what this is about")] for i in range(3)]
    complete(engine, talks[0], GREEDY)
    engine._open().sessions._budget_bytes = 2 * engine.cache_nbytes() + 1000
    for talk in (talks[1], talks[0], talks[2]):  # 1 is now the oldest of three, and two have room
        complete(engine, talk, GREEDY)
    lengths = []
    for talk in (talks[0], talks[1]):
        read_tokens.clear()
        complete(engine, talk, GenerationOptions(max_new_tokens=1))
        lengths.append(sum(read_tokens))
    engine.close()
    assert lengths[0] == 1 < lengths[1]


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_generation_respects_max_tokens(tiny: RuntimeEngine) -> None:
    for limit in (1, 5, 33):
        completion = complete(tiny, STORY, GenerationOptions(max_new_tokens=limit))
        assert (completion.completion_tokens, completion.finish_reason) == (limit, "length")
        assert len(completion.logprobs) == limit


@pytest.mark.real
def test_temperature_affects_randomness(reader: RuntimeEngine) -> None:
    cold = {complete(reader, STORY, GREEDY).text for _ in range(3)}
    cool = [complete(reader, STORY, GenerationOptions(max_new_tokens=12, temperature=0.2)) for _ in range(4)]
    hot = [complete(reader, STORY, HOT) for _ in range(4)]
    assert len(cold) == 1
    assert len({c.text for c in hot}) == 4
    assert np.mean([confidence(c.logprobs) for c in hot]) < np.mean([confidence(c.logprobs) for c in cool])


@pytest.mark.real
def test_top_p_filtering(reader: RuntimeEngine) -> None:
    following = log_probs(reader, prompt_ids(reader, STORY))[-1]
    order = np.argsort(-following)
    likely = order[: int(np.searchsorted(np.cumsum(np.exp(following[order])), 0.5)) + 1]
    nucleus = {reader._tokenizer.decode([int(i)]) for i in likely}

    def first_words(top_p: float, draws: int) -> Iterator[str]:
        options = GenerationOptions(max_new_tokens=1, temperature=1.0, top_p=top_p)
        return (complete(reader, STORY, options).text for _ in range(draws))

    assert all(word in nucleus for word in first_words(0.5, 30))
    assert any(word not in nucleus for word in first_words(1.0, 500))  # stops at the first; half of them are


@pytest.mark.parametrize(
    "narrow",
    [{"top_p": 0.001}, {"top_k": 1}, {"min_p": 1.0}, {"temperature": 1e-30}],
    ids=lambda narrow: next(iter(narrow)),
)
def test_what_leaves_one_candidate_is_greedy(tiny: RuntimeEngine, narrow: dict[str, float]) -> None:
    options = GenerationOptions(**({"max_new_tokens": 12, "temperature": 2.0} | narrow))  # type: ignore[arg-type]
    assert complete(tiny, STORY, options).text == complete(tiny, STORY, GREEDY).text


def test_top_k_beyond_the_vocabulary_keeps_every_token(tiny: RuntimeEngine) -> None:
    every, all_there_are = (
        complete(tiny, STORY, GenerationOptions(8, temperature=1.0, top_k=k, seed=1)) for k in (0, 10**9)
    )
    assert every.completion_tokens == all_there_are.completion_tokens > 0


def test_the_same_seed_repeats_and_another_or_none_does_not(tiny: RuntimeEngine) -> None:
    def seeded(seed: int | None) -> str:
        return complete(tiny, STORY, GenerationOptions(24, temperature=1.5, seed=seed)).text

    assert seeded(7) == seeded(7)
    assert len({seeded(7), seeded(8), seeded(-1), seeded(2**64 - 2), seeded(None), seeded(None)}) == 6


def test_repetition_penalty_makes_tokens_differ(tiny: RuntimeEngine) -> None:
    def distinct(penalty: float) -> int:
        return len(set(complete(tiny, STORY, GenerationOptions(48, repetition_penalty=penalty)).text))

    assert distinct(5.0) > distinct(1.0)


def test_log_probabilities_are_those_of_the_model(tiny: RuntimeEngine) -> None:
    prompt, answer = prompt_ids(tiny, STORY), complete(tiny, STORY, GREEDY)
    rows = log_probs(tiny, [*prompt, *tiny._open().sessions._idle[-1].tokens()[len(prompt) :].tolist()])[
        len(prompt) - 1 :
    ]
    np.testing.assert_allclose(answer.logprobs, rows.max(axis=1)[:12], atol=1e-5)


def test_rows_without_a_token_are_never_drawn(tiny_lfm2: RuntimeEngine) -> None:
    assert tiny_lfm2._num_tokens < tiny_lfm2._open().model.vocab_size
    for seed in range(20):
        complete(tiny_lfm2, STORY, GenerationOptions(20, temperature=2.0, seed=seed))
        assert tiny_lfm2._open().sessions._idle[-1].tokens().max() < tiny_lfm2._num_tokens


# --- streams beside each other ----------------------------------------------------------------------------------------


def test_streams_together_say_what_they_say_alone(tiny: RuntimeEngine) -> None:
    prompts = [[Message("user", f"{i} " * (3 * i + 1))] for i in range(8)]
    options = [GenerationOptions(20, temperature=0.0 if i % 2 else 1.2, seed=i) for i in range(8)]
    alone = [complete(tiny, *one) for one in zip(prompts, options, strict=True)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda p, o: complete(tiny, p, o), prompts, options))
    assert together == alone


def test_streams_share_passes(tiny: RuntimeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    advance = RuntimeModel.advance

    def watched(self: RuntimeModel, sessions: Sequence, ids: Sequence, **kwargs: object) -> object:
        sizes.append(len(sessions))
        return advance(self, sessions, ids, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(RuntimeModel, "advance", watched)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda i: complete(tiny, [Message("user", f"{i}")], GenerationOptions(60)), range(6)))
    assert max(sizes) >= 2
    assert 6 <= sum(sizes) <= 6 * 60  # fewer where guesses were right


def test_two_streams_of_one_conversation_do_not_share_a_session(tiny: RuntimeEngine) -> None:
    complete(tiny, STORY, GREEDY)
    streams = [tiny.stream(STORY, GREEDY) for _ in range(3)]
    texts = ["".join(piece.text for piece in step) for step in zip(*streams, strict=True)]
    assert all(text == 3 * text[: len(text) // 3] for text in texts)


def test_a_long_prompt_can_be_cancelled_while_it_is_read(tiny_lfm2_dir: Path, read_tokens: list[int]) -> None:
    engine = RuntimeEngine(tiny_lfm2_dir, context_tokens=4096)
    asked = iter([False, False, True])
    pieces = list(engine.stream([Message("user", "fox " * 900)], GREEDY, cancelled=lambda: next(asked)))
    engine.close()
    assert [(p.text, p.finish_reason, p.completion_tokens) for p in pieces] == [("", "cancelled", 0)]
    assert sum(read_tokens) == 512 < pieces[0].prompt_tokens


def test_what_a_cancelled_stream_has_read_stays(tiny_lfm2: RuntimeEngine, read_tokens: list[int]) -> None:
    messages = [Message("user", "fox " * 80)]
    asked = iter([False, True])
    list(tiny_lfm2.stream(messages, GREEDY, cancelled=lambda: next(asked)))
    before = sum(read_tokens)
    complete(tiny_lfm2, messages, GenerationOptions(max_new_tokens=1))
    assert before >= 256
    assert sum(read_tokens) <= len(prompt_ids(tiny_lfm2, messages)) + 1


def test_closing_during_a_stream_ends_it_and_frees_everything(tiny_lfm2_dir: Path) -> None:
    engine = RuntimeEngine(tiny_lfm2_dir)
    freed = weakref.ref(engine)
    stream = engine.stream(STORY, GenerationOptions(max_new_tokens=400))
    next(stream)
    engine.close()
    assert [piece.finish_reason for piece in stream] == ["cancelled"]
    assert engine.cache_nbytes() == 0
    del engine, stream
    gc.collect()
    assert freed() is None


def test_a_closed_engine_does_nothing_more(tiny: RuntimeEngine) -> None:
    tiny.close()
    for use in (
        lambda: tiny.stream(STORY, GREEDY),
        lambda: tiny.probe(STORY),
        lambda: tiny.score(STORY, ["a"]),
        lambda: tiny.hidden_means(["a"]),
    ):
        with pytest.raises(EngineError, match="closed"):
            use()


def test_a_failure_in_a_shared_pass_reaches_every_stream(tiny: RuntimeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(RuntimeModel, "advance", no_memory)
    for _ in range(2):
        with pytest.raises(EngineError, match="not enough memory"):
            complete(tiny, STORY, GREEDY)
    monkeypatch.undo()
    assert complete(tiny, STORY, GREEDY).completion_tokens == 12


# --- what only the runtime can say ------------------------------------------------------------------------------------


def test_probe_reads_the_prompt_once_and_says_what_follows(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    ids = prompt_ids(tiny, STORY)[:64]
    rows = log_probs(tiny, ids)
    read_tokens.clear()
    probe = tiny.probe(STORY)
    assert read_tokens == [len(ids)]
    p = np.sort(np.exp(rows[-1]))[::-1]
    model_rows = rows[np.arange(len(ids) - 1), ids[1:]]
    assert (probe.top_probability, probe.margin) == pytest.approx((p[0], p[0] - p[1]), abs=1e-6)
    assert probe.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)
    assert probe.prompt_logprob == pytest.approx(model_rows.mean(), abs=0.05)  # rows without a token count there


def test_a_probed_prompt_is_not_read_again(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    tiny.probe(STORY)
    read_tokens.clear()
    complete(tiny, STORY, GenerationOptions(max_new_tokens=1))
    assert sum(read_tokens) == max(1, len(prompt_ids(tiny, STORY)) - 64)


def test_score_equals_log_probabilities_one_by_one(tiny: RuntimeEngine) -> None:
    answers, prompt = ["yes", "no, not that", "x" * 50, "yes"], prompt_ids(tiny, STORY)
    expected = []
    for answer in answers:
        ids = tiny._tokenizer.encode(answer, add_special_tokens=False).ids
        session = tiny._open().model.session(context_tokens=512)
        said = tiny._open().model.advance([session], [np.array([*prompt, *ids], np.int32)], want="logprobs")
        expected.append(float(said[len(prompt) :].mean()))
    assert tiny.score(STORY, answers) == expected
    assert tiny.score(STORY, answers[:1]) == expected[:1]


def test_score_reads_the_prompt_once(tiny: RuntimeEngine, read_tokens: list[int]) -> None:
    answers = ["one", "two", "three"]
    lengths = [len(tiny._tokenizer.encode(a, add_special_tokens=False).ids) for a in answers]
    tiny.score(STORY, answers)
    assert read_tokens == [len(prompt_ids(tiny, STORY)), sum(lengths)]


def test_score_refuses_what_it_cannot_score(tiny: RuntimeEngine) -> None:
    assert tiny.score(STORY, []) == []
    with pytest.raises(ValueError, match=r"answers\[1\] has no tokens"):
        tiny.score(STORY, ["a", ""])
    with pytest.raises(ValueError, match="context_tokens"):
        tiny.score(STORY, ["word " * 1000])
    with pytest.raises(ValueError, match="messages"):
        tiny.score([], ["a"])


def test_hidden_means_are_the_means_of_the_states_alone(tiny: RuntimeEngine) -> None:
    texts = ["hello world", "a", "hello " * 300]
    means = tiny.hidden_means(texts)
    assert means.shape == (3, tiny._open().model.hidden_size)
    for text, mean in zip(texts, means, strict=True):
        ids = np.array(tiny._tokenizer.encode(text).ids[: tiny.context_tokens], np.int32)
        states = tiny._open().model.advance([tiny._open().model.session(context_tokens=512)], [ids], want="hidden")
        np.testing.assert_array_equal(mean, states.mean(axis=0))
    assert tiny.hidden_means([]).shape == (0, tiny._open().model.hidden_size)


@pytest.mark.skipif(find_spec("llguidance") is None, reason="needs llguidance")
@pytest.mark.real
def test_a_schema_is_kept_to(reader: RuntimeEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "legs": {"type": "integer", "maximum": 9}},
        "required": ["name", "legs"],
        "additionalProperties": False,
    }
    for seed in range(3):
        options = GenerationOptions(60, temperature=float(seed), seed=seed, json_schema=schema)
        completion = complete(reader, [Message("user", "Describe a fox as JSON.")], options)
        found = json.loads(completion.text)
        assert completion.finish_reason == "stop"
        assert isinstance(found["name"], str) and isinstance(found["legs"], int) and len(found) == 2


# --- directories ------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_model_loading_correct_size(reader: RuntimeEngine, smollm2_dir: Path) -> None:
    card = read_card(smollm2_dir)
    assert count_parameters(smollm2_dir / "model.bin") == card.parameters == reader.parameters == 134_515_008
    assert reader.size_bytes == (smollm2_dir / "model.bin").stat().st_size
    assert 1.0 <= reader._open().model.nbytes() / card.parameters < 1.05  # int8: one byte each, and the scales
    assert log_probs(reader, [1, 2, 3]).shape == (3, card.vocab_size)


def broken(source: Path, folder: Path, change: Callable[[Path], object], **card: object) -> Path:
    """Return a copy of a model directory after a change, with another card."""
    target = folder / source.name
    shutil.copytree(source, target)
    found = json.loads((target / "ruvllm.json").read_text())
    (target / "ruvllm.json").write_text(json.dumps(found | card))
    change(target)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "model.bin").unlink(), r"model\.bin cannot be opened"),
        (lambda path: (path / "model.bin").write_bytes(b""), r"model\.bin is empty"),
        (lambda path: (path / "model.bin").write_bytes((path / "model.bin").read_bytes()[:-9]), "truncated"),
        (lambda path: (path / "model.bin").write_bytes((path / "model.bin").read_bytes()[:9]), "truncated"),
        (lambda path: (path / "config.json").unlink(), r"config\.json cannot be read"),
        (lambda path: (path / "config.json").write_text("["), r"config\.json cannot be read"),
        (lambda path: (path / "config.json").write_text("[]"), r"config\.json cannot be read"),
        (lambda path: (path / "config.json").write_text("[" * 100_000), r"config\.json cannot be read"),
        (lambda path: (path / "tokenizer_config.json").write_text("[" * 100_000), r"tokenizer_config\.json: "),
        (lambda path: (path / "tokenizer.json").write_text("{}"), r"tokenizer\.json cannot be loaded"),
    ],
)
def test_a_damaged_directory_is_named(
    tiny_lfm2_dir: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(ModelDamaged, match=message) as caught:
        RuntimeEngine(broken(tiny_lfm2_dir, tmp_path, change))
    assert caught.value.model == "tiny-lfm2@float32"


def test_a_card_that_contradicts_the_weights_is_damage(tiny_lfm2_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"has 288 x 64 embeddings, the card says 300 x 64"):
        RuntimeEngine(broken(tiny_lfm2_dir, tmp_path, lambda path: None, vocab_size=300))


def test_tokenizer_with_an_id_beyond_the_vocabulary_is_damaged(tmp_path: Path) -> None:
    model_dir = converted.lfm2(tmp_path)
    stored = json.loads((model_dir / "tokenizer.json").read_text())
    stored["model"]["vocab"]["Ġworld"] = 288
    (model_dir / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(ModelDamaged, match="289 tokens, the model 288"):
        RuntimeEngine(model_dir)


def test_weights_that_overflow_fail_as_the_engine(tiny_lfm2_dir: Path, tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        known = read_model_bin(path / "model.bin")
        names = ("layer_0/ffn_w1/weight", "layer_0/ffn_w3/weight")
        changed = known.variables | {name: known.variables[name] * np.float32(1e30) for name in names}
        write_model_bin(path / "model.bin", known._replace(variables=changed))

    engine = RuntimeEngine(broken(tiny_lfm2_dir, tmp_path, spoil))
    with pytest.raises(EngineError, match="logits must not hold a NaN"):
        complete(engine, STORY, GREEDY)
    engine.close()


def test_an_encoder_cannot_generate(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported):
        RuntimeEngine(converted.encoder(tmp_path))


def test_no_context_beyond_the_models_own(tiny_llama_dir: Path) -> None:
    engine = RuntimeEngine(tiny_llama_dir, context_tokens=10**6)
    engine.close()
    assert engine.context_tokens == read_card(tiny_llama_dir).context_tokens == 512
