"""What is cached is the same on the next run and not computed again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from memory.fakes import WordEmbedder

from ruvllm.bench.cache import Cache, CachedEmbedder


def test_a_text_is_encoded_once_for_all_runs(tmp_path: Path) -> None:
    first, second = WordEmbedder(), WordEmbedder()
    with Cache(tmp_path / "kept") as cache:
        before = CachedEmbedder(first, cache).encode(["a b", "c", "a b"])
    with Cache(tmp_path / "kept") as cache:
        after = CachedEmbedder(second, cache).encode(["c", "a b"])
    np.testing.assert_array_equal(after, before[[1, 0]])
    assert (first.texts_encoded, second.texts_encoded) == (2, 0)


def test_kinds_do_not_mix() -> None:
    with Cache(None) as cache:
        cache.add("answer by a", {"x": b"1"})
        assert cache.find("answer by b", ["x"]) == {}
        assert cache.find("answer by a", ["x", "y"]) == {"x": b"1"}


def test_threads_share_a_cache() -> None:
    values = {f"{i}": b"x" * 1000 for i in range(2000)}
    with Cache(None) as cache, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda kind: cache.add(kind, values), "abcd"))
        assert all(cache.find(kind, list(values)) == values for kind in "abcd")
