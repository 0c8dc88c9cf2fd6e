"""ruvllm/memory/index.py: hnswlib with its guard."""

from __future__ import annotations

import json
import threading
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ruvllm.config import IndexConfig
from ruvllm.kernels import exact_search
from ruvllm.memory.index import HnswIndex, IndexUnusable

from .fakes import unit_vectors

DIM = 32
CONFIG = IndexConfig(m=16, ef_construction=100, ef_search=64)
NEEDS_FAISS = pytest.mark.skipif(find_spec("faiss") is None, reason="needs faiss-cpu")
KINDS = ["hnswlib", pytest.param("faiss-sq8", marks=NEEDS_FAISS)]
IDS = np.arange(1_000, 3_000, dtype=np.int64)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit_vectors(len(IDS), DIM)


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest) -> IndexConfig:
    return msgspec.structs.replace(CONFIG, kind=request.param)


@pytest.fixture
def index(vectors: np.ndarray, config: IndexConfig) -> HnswIndex:
    index = HnswIndex(DIM, config)
    index.add(IDS, vectors, num_threads=2)
    return index


def load(base: Path, **changes: object) -> HnswIndex:
    options = {"dim": DIM, "embedder_id": "e", "config": CONFIG} | changes
    return HnswIndex.load(base, **options)  # type: ignore[arg-type]


def test_hnsw_search_returns_k_neighbors(index: HnswIndex, vectors: np.ndarray) -> None:
    queries = unit_vectors(50, DIM, seed=1)
    true, _ = exact_search(vectors, queries, 10)

    found = [index.search(query, 10) for query in queries]

    assert all(len(labels) == 10 and (np.diff(cosines) <= 0).all() for labels, cosines in found)
    recall = np.mean([len(set(labels - 1_000) & set(row)) / 10 for (labels, _), row in zip(found, true, strict=True)])
    assert recall >= 0.95


def test_cosines_are_those_of_the_vectors(index: HnswIndex, config: IndexConfig, vectors: np.ndarray) -> None:
    labels, cosines = index.search(vectors[7], 5)
    assert labels[0] == 1_007
    exact = vectors[labels - 1_000] @ vectors[7]
    np.testing.assert_allclose(cosines, exact, atol=1e-5 if config.kind == "hnswlib" else 0.01)


def test_k_above_the_live_count_returns_all_live(config: IndexConfig) -> None:
    index = HnswIndex(DIM, config)
    index.add(np.array([5, 9, 7]), unit_vectors(3, DIM))
    index.remove([9])
    assert sorted(index.search(unit_vectors(1, DIM)[0], 100)[0].tolist()) == [5, 7]


def test_empty_index_finds_nothing(config: IndexConfig) -> None:
    labels, cosines = HnswIndex(DIM, config).search(unit_vectors(1, DIM)[0], 3)
    assert (len(labels), len(cosines)) == (0, 0)


def test_removed_vectors_are_never_found(index: HnswIndex, vectors: np.ndarray) -> None:
    index.remove([1_007, 1_007, 99])
    assert 1_007 not in index.search(vectors[7], 50)[0]
    assert (len(index), 1_007 in index.ids()) == (1_999, False)
    assert index.tombstones == pytest.approx(1 / 2_000)


def test_a_vector_that_comes_back_can_be_removed_again(index: HnswIndex, vectors: np.ndarray) -> None:
    for _ in range(2):
        index.remove([1_007])
        assert 1_007 not in index.search(vectors[7], 50)[0]
        index.add(np.array([1_007]), vectors[7:8])
        assert index.search(vectors[7], 1)[0].tolist() == [1_007] and len(index) == 2_000
    index.remove([1_007])
    assert 1_007 not in index.search(vectors[7], 50)[0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((1, DIM), np.nan, np.float32), "NaN"),
        (np.zeros((1, DIM), np.float32), "zero vector"),
        (np.full((1, DIM), np.inf, np.float32), "infinity"),
        (np.ones((1, DIM + 1), np.float32), "32 dimensions"),
    ],
)
def test_bad_vectors_are_refused_at_the_door(index: HnswIndex, bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        index.add(np.array([1]), bad)
    with pytest.raises(ValueError, match=message):
        index.search(bad[0], 3)
    assert len(index) == 2_000


def test_ef_below_k_is_raised_to_k(index: HnswIndex) -> None:
    assert len(index.search(unit_vectors(1, DIM)[0], 200, ef_search=8)[0]) == 200


def test_saved_index_answers_the_same_after_loading(index: HnswIndex, config: IndexConfig, tmp_path: Path) -> None:
    index.remove([1_001])
    query = unit_vectors(1, DIM, seed=5)[0]
    index.save(tmp_path / "default", embedder_id="e")

    loaded = load(tmp_path / "default", config=config)

    assert len(loaded) == 1_999 and 1_001 not in loaded.ids()
    np.testing.assert_array_equal(loaded.search(query, 20)[0], index.search(query, 20)[0])
    loaded.add(np.array([9_000]), unit_vectors(1, DIM, seed=6))
    assert loaded.search(unit_vectors(1, DIM, seed=6)[0], 1)[0].tolist() == [9_000]


def test_save_leaves_no_temporary_files(index: HnswIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "default", embedder_id="e")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["default.hnsw", "default.json"]


def test_truncated_index_is_refused(index: HnswIndex, config: IndexConfig, tmp_path: Path) -> None:
    index.save(tmp_path / "default", embedder_id="e")
    file = tmp_path / "default.hnsw"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(IndexUnusable, match="checksum"):
        load(tmp_path / "default", config=config)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_bit_flipped_index_is_refused(index: HnswIndex, config: IndexConfig, tmp_path: Path, place: float) -> None:
    index.save(tmp_path / "default", embedder_id="e")
    file = tmp_path / "default.hnsw"
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0x10
    file.write_bytes(content)
    with pytest.raises(IndexUnusable, match="checksum"):
        load(tmp_path / "default", config=config)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"version": 1, "dim": DIM}),
        "\x00\x01",
        '{"version": 1, "count": "x"}',
        "[" * 100_000,
    ],
)
def test_damaged_manifest_is_refused(index: HnswIndex, config: IndexConfig, tmp_path: Path, manifest: str) -> None:
    index.save(tmp_path / "default", embedder_id="e")
    (tmp_path / "default.json").write_text(manifest)
    with pytest.raises(IndexUnusable, match="manifest"):
        load(tmp_path / "default", config=config)


@pytest.mark.parametrize("deleted", [[[]], ["3"], [{}], 3, {"a": 1}, None])
@pytest.mark.parametrize("missing", ["", "sha256"])
def test_manifest_of_the_right_names_alone_is_refused(
    index: HnswIndex, config: IndexConfig, tmp_path: Path, deleted: object, missing: str
) -> None:
    index.save(tmp_path / "default", embedder_id="e")
    manifest = json.loads((tmp_path / "default.json").read_text()) | {"deleted": [] if missing else deleted}
    manifest.pop(missing, None)
    (tmp_path / "default.json").write_text(json.dumps(manifest))
    with pytest.raises(IndexUnusable, match="manifest"):
        load(tmp_path / "default", config=config)


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": 31},
        {"embedder_id": "other"},
        {"config": IndexConfig(m=8, ef_construction=100)},
    ],
)
def test_index_of_another_kind_is_refused(vectors: np.ndarray, tmp_path: Path, changes: dict[str, object]) -> None:
    index = HnswIndex(DIM, CONFIG)
    index.add(IDS, vectors)
    index.save(tmp_path / "default", embedder_id="e")
    with pytest.raises(IndexUnusable, match="it was built with"):
        load(tmp_path / "default", **changes)


@pytest.mark.parametrize(("built", "wanted"), [("hnswlib", "faiss-sq8"), ("faiss-sq8", "hnswlib")])
def test_index_of_another_library_is_refused(vectors: np.ndarray, tmp_path: Path, built: str, wanted: str) -> None:
    pytest.importorskip("faiss")
    index = HnswIndex(DIM, msgspec.structs.replace(CONFIG, kind=built))
    index.add(IDS, vectors)
    index.save(tmp_path / "default", embedder_id="e")
    with pytest.raises(IndexUnusable, match=f"it was built with kind {built}, not {wanted}"):
        load(tmp_path / "default", config=msgspec.structs.replace(CONFIG, kind=wanted))


def test_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match="there is none"):
        load(tmp_path / "default")


def test_searching_while_adding_and_removing_is_safe(vectors: np.ndarray, config: IndexConfig) -> None:
    index = HnswIndex(DIM, config, capacity=16)
    index.add(IDS[:100], vectors[:100])
    done = threading.Event()
    errors: list[BaseException] = []

    def search(ef: int) -> None:
        try:
            while not done.is_set():
                labels, _ = index.search(vectors[3], 10, ef_search=ef)
                assert len(labels) == 10
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search, args=(ef,)) for ef in (16, 64, 64)]
    for thread in threads:
        thread.start()
    for start in range(100, 2_000, 100):
        index.add(IDS[start : start + 100], vectors[start : start + 100])
        index.remove(IDS[start - 50 : start - 40].tolist())
    done.set()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(index) == 2_000 - 190
