"""Local generation on the real SmolLM2-135M."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm.errors import EngineError, ModelDamaged, ModelUnsupported
from ruvllm.inference import complete, confidence
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine, _Run
from ruvllm.models import read_card
from ruvllm.types import GenerationOptions, Message

from .model_file import count_parameters

pytestmark = pytest.mark.real

STORY = [Message("user", "Tell me a story about a fox and the sea.")]
GREEDY = GenerationOptions(max_new_tokens=16)
HOT = GenerationOptions(max_new_tokens=16, temperature=1.5)


def log_probs(engine: CTranslate2Engine, ids: list[int]) -> np.ndarray:
    """Return (len(ids), vocabulary) log-probabilities of what follows each token, in one pass over all of them."""
    tokens = [engine._tokenizer.id_to_token(i) for i in ids]
    assert engine._generator is not None
    return np.asarray(engine._generator.forward_batch([tokens], return_log_probs=True))[0]


def test_model_loading_correct_size(smollm2: CTranslate2Engine, smollm2_dir: Path) -> None:
    card = read_card(smollm2_dir)
    assert count_parameters(smollm2_dir / "model.bin") == card.parameters == 134_515_008
    assert smollm2.size_bytes == (smollm2_dir / "model.bin").stat().st_size
    assert 1.0 <= smollm2.size_bytes / card.parameters < 1.05  # int8: one byte each, and the scales
    assert log_probs(smollm2, [1, 2, 3]).shape == (3, card.vocab_size)


def test_generation_respects_max_tokens(smollm2: CTranslate2Engine) -> None:
    for limit in (1, 5, 33):
        completion = complete(smollm2, STORY, GenerationOptions(max_new_tokens=limit))
        assert (completion.completion_tokens, completion.finish_reason) == (limit, "length")
        assert len(smollm2._tokenizer.encode(completion.text).ids) == limit


def test_temperature_affects_randomness(smollm2: CTranslate2Engine) -> None:
    cold = {complete(smollm2, STORY, GREEDY).text for _ in range(3)}
    cool = [complete(smollm2, STORY, GenerationOptions(max_new_tokens=16, temperature=0.2)) for _ in range(4)]
    hot = [complete(smollm2, STORY, HOT) for _ in range(4)]
    assert len(cold) == 1
    assert len({c.text for c in hot}) == 4
    assert np.mean([confidence(c.logprobs) for c in hot]) < np.mean([confidence(c.logprobs) for c in cool])


def test_top_p_filtering(smollm2: CTranslate2Engine) -> None:
    following = log_probs(smollm2, smollm2._template.encode(STORY))[-1]
    order = np.argsort(-following)
    # one pass and steps round int8 differently, so a somewhat larger nucleus is computed than is asked for
    likely = order[: int(np.searchsorted(np.cumsum(np.exp(following[order])), 0.8)) + 1]
    nucleus = {smollm2._tokenizer.decode([int(i)]) for i in likely}

    def first_words(top_p: float, draws: int) -> Iterator[str]:
        options = GenerationOptions(max_new_tokens=1, temperature=1.0, top_p=top_p)
        return (complete(smollm2, STORY, options).text for _ in range(draws))

    assert all(word in nucleus for word in first_words(0.5, 20))
    assert any(word not in nucleus for word in first_words(1.0, 500))  # stops at the first; a tenth of them are


def test_a_tiny_nucleus_and_a_single_candidate_are_greedy(smollm2: CTranslate2Engine) -> None:
    greedy = complete(smollm2, STORY, GREEDY).text
    assert complete(smollm2, STORY, GenerationOptions(16, temperature=2.0, top_p=0.001)).text == greedy
    assert complete(smollm2, STORY, GenerationOptions(16, temperature=2.0, top_k=1)).text == greedy
    assert complete(smollm2, STORY, GenerationOptions(16, temperature=1e-30)).text == greedy


def test_top_k_beyond_the_vocabulary_keeps_every_token(smollm2: CTranslate2Engine) -> None:
    assert complete(smollm2, STORY, GenerationOptions(2, temperature=1.0, top_k=10**9)).completion_tokens == 2


def test_repetition_penalty_makes_tokens_differ(smollm2: CTranslate2Engine) -> None:
    def distinct_share(penalty: float) -> float:
        text = complete(smollm2, STORY, GenerationOptions(48, repetition_penalty=penalty)).text
        ids = smollm2._tokenizer.encode(text).ids
        return len(set(ids)) / len(ids)

    assert distinct_share(2.0) > distinct_share(1.0) + 0.1


def test_the_same_seed_repeats_and_another_does_not(smollm2: CTranslate2Engine) -> None:
    def seeded(seed: int) -> str:
        return complete(smollm2, STORY, GenerationOptions(12, temperature=1.2, seed=seed)).text

    first = seeded(7)
    assert complete(smollm2, STORY, HOT).text != complete(smollm2, STORY, HOT).text
    assert (seeded(7), seeded(8) == first) == (first, False)


def test_an_answer_ends_by_itself_and_shows_no_special_token(smollm2: CTranslate2Engine) -> None:
    completion = complete(smollm2, [Message("user", "Say hello.")], GenerationOptions(max_new_tokens=200))
    assert completion.finish_reason == "stop"
    assert completion.completion_tokens == len(completion.logprobs) < 200
    assert "<|" not in completion.text
    assert 0.2 < confidence(completion.logprobs) <= 1.0


def test_log_probabilities_are_those_of_the_model(smollm2_float32_dir: Path) -> None:
    engine = CTranslate2Engine(smollm2_float32_dir, context_tokens=512)  # int8 rounds one pass and steps differently
    completion = complete(engine, STORY, GREEDY)
    prompt = engine._template.encode(STORY)
    answer = engine._tokenizer.encode(completion.text, add_special_tokens=False).ids
    rows = log_probs(engine, prompt + answer)[len(prompt) - 1 : -1]
    engine.close()
    np.testing.assert_allclose(completion.logprobs, rows[np.arange(len(answer)), answer], atol=1e-3)


def test_a_schema_is_refused_before_the_first_token(smollm2: CTranslate2Engine) -> None:
    with pytest.raises(ValueError, match="json_schema: CTranslate2"):
        smollm2.stream(STORY, GenerationOptions(json_schema={"type": "string"}))


def test_a_cut_that_ctranslate2_lacks_is_refused_before_the_first_token(smollm2: CTranslate2Engine) -> None:
    with pytest.raises(ValueError, match="min_p: CTranslate2"):
        smollm2.stream(STORY, GenerationOptions(min_p=0.1))


def test_stopping_ends_the_native_generation(smollm2: CTranslate2Engine) -> None:
    assert smollm2._generator is not None
    prompt = smollm2._tokens(smollm2._template.encode(STORY))
    run = _Run(smollm2._generator, prompt, {"max_length": 400, "min_length": 400}, threading.Event())
    next(run.steps(lambda: False))
    run.stop()
    assert len(run._result.result().sequences_ids[0]) < 400


def test_a_stream_that_waits_for_another_can_be_cancelled(smollm2: CTranslate2Engine) -> None:
    running = smollm2.stream(STORY, GenerationOptions(max_new_tokens=400))
    next(running)
    answers = iter([False, True])
    waiting = list(smollm2.stream(STORY, GREEDY, cancelled=lambda: next(answers)))
    assert [(p.text, p.finish_reason, p.completion_tokens) for p in waiting] == [("", "cancelled", 0)]
    assert next(running).finish_reason is None
    running.close()


def test_closing_the_engine_ends_its_streams_and_frees_the_weights(smollm2_dir: Path) -> None:
    engine = CTranslate2Engine(smollm2_dir)
    freed = weakref.ref(engine)
    stream = engine.stream(STORY, GenerationOptions(max_new_tokens=400))
    next(stream)
    engine.close()
    engine.close()
    *_, last = stream
    assert last.finish_reason == "cancelled"
    with pytest.raises(EngineError, match="closed"):
        engine.stream(STORY, GREEDY)
    del engine, stream
    gc.collect()
    assert freed() is None


LEAVES_A_STREAM_OPEN = """
import sys
from pathlib import Path
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.types import GenerationOptions, Message
engine = CTranslate2Engine(Path(sys.argv[1]))
stream = engine.stream([Message("user", "Tell me a story.")], GenerationOptions(max_new_tokens=400))
print(next(stream).completion_tokens)
"""


@pytest.mark.integration
def test_a_process_may_end_in_the_middle_of_a_stream(smollm2_dir: Path) -> None:
    command = [sys.executable, "-P", "-c", LEAVES_A_STREAM_OPEN, str(smollm2_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def altered(source: Path, folder: Path, **card: object) -> Path:
    """Return a copy of a model directory without weights and with another card."""
    target = folder / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("model.bin"))
    found = json.loads((target / "ruvllm.json").read_text())
    (target / "ruvllm.json").write_text(json.dumps(found | card))
    return target


def test_missing_weights_are_named(smollm2_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"model\.bin is missing"):
        CTranslate2Engine(altered(smollm2_dir, tmp_path))


@pytest.mark.parametrize("size", [0, 10, 1000, 1_000_000])
def test_truncated_weights_are_named(smollm2_dir: Path, tmp_path: Path, size: int) -> None:
    folder = altered(smollm2_dir, tmp_path)
    with (smollm2_dir / "model.bin").open("rb") as stream:
        (folder / "model.bin").write_bytes(stream.read(size))
    with pytest.raises(ModelDamaged, match=r"model\.bin cannot be loaded") as caught:
        CTranslate2Engine(folder)
    assert caught.value.model == "smollm2-135m"


@pytest.mark.parametrize("change", [{"family": "lfm2"}, {"quantization": "int4"}])
def test_what_ctranslate2_lacks_is_unsupported(smollm2_dir: Path, tmp_path: Path, change: dict[str, str]) -> None:
    (name,) = change.values()
    with pytest.raises(ModelUnsupported, match=rf'not with .*{name}.*set generation\.engine to "runtime"'):
        CTranslate2Engine(altered(smollm2_dir, tmp_path, **change))


def test_an_encoder_cannot_generate(minilm_dir: Path) -> None:
    with pytest.raises(ModelUnsupported, match="bert"):
        CTranslate2Engine(minilm_dir)


def test_a_tokenizer_of_another_model_is_damage(smollm2_dir: Path, tmp_path: Path) -> None:
    folder = altered(smollm2_dir, tmp_path, vocab_size=1000)
    (folder / "model.bin").symlink_to(smollm2_dir / "model.bin")
    with pytest.raises(ModelDamaged, match="49152 tokens, the model 1000"):
        CTranslate2Engine(folder)


def test_no_context_beyond_the_models_own(smollm2_dir: Path) -> None:
    engine = CTranslate2Engine(smollm2_dir, context_tokens=10**6)
    engine.close()
    assert engine.context_tokens == read_card(smollm2_dir).context_tokens
