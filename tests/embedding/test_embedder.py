"""Embedding on the real MiniLM."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ruvllm.config import EmbeddingConfig, ModelsConfig, load_config
from ruvllm.embedding import SentenceEncoder, open_embedder
from ruvllm.errors import ModelMissing
from ruvllm.memory import Memory

pytestmark = pytest.mark.real
GOLDEN = Path(__file__).parent / "data" / "minilm_golden.json"


def cosines_to_golden(embedder: SentenceEncoder) -> np.ndarray:
    """Return how close vectors of 20 texts are to those of sentence-transformers in float32."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    stored = np.frombuffer(base64.b64decode(golden["float16"]), np.float16).reshape(-1, golden["dim"])
    wanted = stored.astype(np.float32) / np.linalg.norm(stored.astype(np.float32), axis=1, keepdims=True)
    found = (embedder.encode(golden["texts"]) * wanted).sum(axis=1)
    assert len(found) == 20
    return np.asarray(found)


def test_int8_stays_within_half_a_percent_of_the_float32_reference(embedder: SentenceEncoder) -> None:
    assert cosines_to_golden(embedder).min() >= 0.995


def test_float32_is_the_reference(exact_embedder: SentenceEncoder) -> None:
    assert cosines_to_golden(exact_embedder).min() >= 0.99999


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_real_texts_in_int8_stay_near_float32(
    embedder: SentenceEncoder, exact_embedder: SentenceEncoder, shared_dir: Path, count: int
) -> None:
    texts = real_texts(shared_dir)[:: 1000 // count]
    together = embedder.encode(texts)
    assert len(texts) == count
    assert (together * exact_embedder.encode(texts)).sum(axis=1).min() >= 0.995
    np.testing.assert_array_equal(together, np.concatenate([embedder.encode([text]) for text in texts]))


def real_texts(shared_dir: Path) -> list[str]:
    """Return 150 passages, 300 questions about them, and 550 requests to a bank."""
    kinds = (("qa/xquad_en_passages", "text", 150), ("qa/xquad_en_questions", "question", 300))
    texts = []
    for name, field, count in (*kinds, ("text/banking77", "text", 550)):
        with gzip.open(shared_dir / "data" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)[field] for line in itertools.islice(lines, count)]
    return texts


@pytest.mark.parametrize("dim", [384, 256, 64])
def test_embedding_dimension_matches_config(minilm_dir: Path, tmp_path: Path, dim: int) -> None:
    embedding = {"model": str(minilm_dir), "dim": dim}
    config = load_config(environment={}, overrides={"embedding": embedding, "models": {"offline": True}})
    with Memory(tmp_path / "brain", config=config) as memory:
        memory.add(["A cat sits on the mat.", "Interest rates were increased by the central bank."])
        assert memory.search("Where is the kitten?", k=1)[0].node.text == "A cat sits on the mat."
        _, vectors = memory._nearest.load().take(np.array([1, 2]))
    assert (vectors.shape, vectors.dtype) == ((2, dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=5e-4)  # kept as float16


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A cat sits on the mat.", "A kitten is sitting on a rug."),
        ("How do I reset my password?", "I forgot my password and need a new one."),
        ("The bank raised interest rates.", "Interest rates were increased by the central bank."),
    ],
)
def test_similar_texts_have_similar_embeddings(embedder: SentenceEncoder, a: str, b: str) -> None:
    first, second = embedder.encode([a, b])
    assert first @ second > 0.6


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A cat sits on the mat.", "Interest rates were increased by the central bank."),
        ("How do I reset my password?", "Photosynthesis turns light into sugar."),
    ],
)
def test_different_texts_have_different_embeddings(embedder: SentenceEncoder, a: str, b: str) -> None:
    first, second = embedder.encode([a, b])
    assert first @ second < 0.2


def test_long_text_truncation(embedder: SentenceEncoder) -> None:
    head = "memory graph music " * 84 + "tail tail"  # 254 tokens, and the two special ones
    assert embedder.count_tokens([head]) == [254]
    same, longer, changed = embedder.encode([head, head + " whale ocean" * 500, "whale " + head])
    np.testing.assert_array_equal(longer, same)
    assert changed @ same < 0.9999


def test_max_tokens_of_the_configuration_is_kept(minilm_dir: Path, models_config: ModelsConfig) -> None:
    embedder = open_embedder(EmbeddingConfig(model=str(minilm_dir), max_tokens=8), models_config)
    a, b = embedder.encode(["one two three four five six seven eight", "one two three four five six"])
    np.testing.assert_array_equal(a, b)


def test_more_tokens_than_the_model_was_trained_for_are_not_used(minilm_dir: Path, models_config: ModelsConfig) -> None:
    assert open_embedder(EmbeddingConfig(model=str(minilm_dir), max_tokens=512), models_config).max_tokens == 256


def test_batch_embedding_matches_individual(embedder: SentenceEncoder) -> None:
    texts = ["short", "a somewhat longer text about graphs", "word " * 300, "x", "the end of it all, finally"] * 3
    together = embedder.encode(texts)
    alone = np.concatenate([embedder.encode([t]) for t in texts])
    np.testing.assert_array_equal(together, alone)


def test_the_number_of_threads_changes_no_bit(minilm_dir: Path, models_config: ModelsConfig) -> None:
    texts = [f"number {i} " + "and so on " * (i % 7) for i in range(25)]
    one, three = (
        open_embedder(EmbeddingConfig(model=str(minilm_dir), num_threads=n), models_config).encode(texts)
        for n in (1, 3)
    )
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("empty", ["", "   ", "\n\t\u3000"])
def test_empty_string_handling(embedder: SentenceEncoder, empty: str) -> None:
    with pytest.raises(ValueError, match=r"texts\[1\] is empty"):
        embedder.encode(["full", empty])


def test_no_texts_give_no_vectors(embedder: SentenceEncoder) -> None:
    assert embedder.encode([]).shape == (0, 384)
    assert embedder.count_tokens([]) == []


def test_one_str_instead_of_a_list_is_a_type_error(embedder: SentenceEncoder) -> None:
    with pytest.raises(TypeError, match="sequence"):
        embedder.encode("abc")


def test_what_is_not_text_is_named(embedder: SentenceEncoder) -> None:
    with pytest.raises(TypeError, match=r"texts\[0\] must be a str, not int"):
        embedder.encode([3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"texts\[1\] holds a lone surrogate at character 2"):
        embedder.encode(["fine", "ab\ud800"])


@pytest.mark.parametrize("text", ["\u200b", "\x00", "\U0001f9ff" * 40, "[SEP]", "[CLS] [MASK] [PAD]", "é" * 5000])
def test_odd_texts_still_give_a_unit_vector(embedder: SentenceEncoder, text: str) -> None:
    np.testing.assert_allclose(np.linalg.norm(embedder.encode([text])), 1.0, atol=1e-5)


def test_tokens_are_counted_without_truncation_and_special_tokens(embedder: SentenceEncoder) -> None:
    assert embedder.count_tokens(["hello", "hello world", "hello " * 1000, ""]) == [1, 2, 1000, 0]


def test_threads_share_one_embedder(embedder: SentenceEncoder) -> None:
    texts = [f"text number {i} about {'ships' if i % 2 else 'music'}" for i in range(12)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda t: embedder.encode([t])[0], texts))
    np.testing.assert_array_equal(np.stack(together), embedder.encode(texts))


def test_more_dimensions_than_the_model_has_are_refused(minilm_dir: Path, models_config: ModelsConfig) -> None:
    with pytest.raises(ValueError, match=r"embedding\.dim"):
        open_embedder(EmbeddingConfig(model=str(minilm_dir), dim=512), models_config)


def test_a_missing_model_is_said_at_opening(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="ruvllm pull minilm-l6"):
        open_embedder(EmbeddingConfig(), ModelsConfig(cache_dir=str(tmp_path), offline=True))
