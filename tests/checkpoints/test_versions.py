"""Versions of parameters: one is in force, damage falls back, rollback goes one back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_disk import full

from ruvllm.checkpoints import Checkpoints
from ruvllm.checkpoints.versions import KEPT
from ruvllm.errors import BrainError


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "kind", form="thing-1")


def params(value: float) -> np.ndarray:
    return np.full(3, value, np.float32)


def test_before_the_first_save_there_is_none(checkpoints: Checkpoints, tmp_path: Path) -> None:
    assert checkpoints.current() is None
    assert checkpoints.rollback() == 0
    assert not (tmp_path / "kind").exists()


def test_the_last_saved_is_in_force(checkpoints: Checkpoints) -> None:
    checkpoints.save(params(1.0), {"loss": 0.5})
    checkpoints.save(params(2.0), {})
    current = checkpoints.current()
    assert current is not None
    assert (current.version, current.params.tolist()) == (2, [2.0, 2.0, 2.0])


def test_rollback_goes_back_to_the_untrained(checkpoints: Checkpoints) -> None:
    checkpoints.save(params(1.0), {})
    checkpoints.save(params(2.0), {})
    assert checkpoints.rollback() == 1
    assert checkpoints.rollback() == 0
    assert checkpoints.current() is None


def test_examples_of_a_version_that_was_taken_back_are_known(checkpoints: Checkpoints) -> None:
    for taught in ("a", "b"):
        checkpoints.save(params(1.0), {"taught": taught})
    assert [checkpoints.nothing_new(2, taught) for taught in ("a", "b")] == ["", "nothing new since version 2"]
    checkpoints.rollback()
    assert checkpoints.nothing_new(1, "a") == "nothing new since version 1"
    assert checkpoints.nothing_new(1, "b") == "nothing new since version 2, which was taken back"
    assert checkpoints.nothing_new(1, "c") == ""


def test_the_version_before_stays_however_many_were_taken_back(checkpoints: Checkpoints) -> None:
    for value in range(KEPT + 1):
        checkpoints.save(params(value), {})
    while checkpoints.rollback() > 2:
        pass
    assert checkpoints.save(params(0.5), {}) == KEPT + 2
    assert checkpoints.rollback() == 2


def test_numbers_are_not_used_twice_after_a_rollback(checkpoints: Checkpoints) -> None:
    checkpoints.save(params(1.0), {})
    checkpoints.rollback()
    assert checkpoints.save(params(2.0), {}) == 2
    assert checkpoints.rollback() == 0


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"PK\x03\x04cut"])
def test_a_damaged_file_is_no_version(checkpoints: Checkpoints, tmp_path: Path, damage: bytes) -> None:
    checkpoints.save(params(1.0), {})
    (tmp_path / "kind" / "000001.npz").write_bytes(damage)
    assert checkpoints.current() is None


@pytest.mark.parametrize(
    ("at", "bit"), [(8, 0), (8, 5), (10, 3), (6, 7)], ids=["encrypted", "patched", "method", "version"]
)
def test_a_flag_that_turned_over_is_no_version(checkpoints: Checkpoints, tmp_path: Path, at: int, bit: int) -> None:
    checkpoints.save(params(1.0), {})
    path = tmp_path / "kind" / "000001.npz"
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + at] ^= 1 << bit  # where the archive lists the head
    path.write_bytes(raw)
    assert checkpoints.current() is None
    assert checkpoints.history() == ()


@pytest.mark.parametrize(
    "head", ["[]", "3", "[" * 100_000, '{"form": "thing-1", "about": 1, "before": 0}', '{"form": "thing-1"}']
)
def test_a_head_that_says_something_else_is_no_version(checkpoints: Checkpoints, tmp_path: Path, head: str) -> None:
    checkpoints.save(params(1.0), {})
    np.savez(tmp_path / "kind" / "000001.npz", params=params(1.0), head=np.array(head))
    assert checkpoints.current() is None
    assert checkpoints.history() == ()
    assert checkpoints.rollback() == 0


def test_parameters_of_another_form_are_left_alone(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(params(1.0), {})
    assert Checkpoints(tmp_path / "kind", form="thing-2").current() is None


def test_old_versions_go(checkpoints: Checkpoints) -> None:
    for i in range(25):
        checkpoints.save(params(float(i)), {})
    assert len(checkpoints.versions()) == 20
    assert checkpoints.versions()[-1] == 25


def test_what_is_kept_beside_the_parameters_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, form="a")
    mask = np.array([[True, False], [False, True]])
    checkpoints.save(np.ones(3, np.float32), {}, {"support": mask})
    current = checkpoints.current()
    assert current is not None
    np.testing.assert_array_equal(current.arrays["support"], mask)


def test_a_version_before_the_one_in_force_can_be_read(checkpoints: Checkpoints) -> None:
    checkpoints.save(params(1.0), {"loss": 0.5})
    checkpoints.save(params(2.0), {})
    loaded = checkpoints.load(1)
    assert loaded is not None and (loaded.params[0], loaded.about) == (1.0, {"loss": 0.5})
    assert checkpoints.load(3) is None


def test_a_full_disk_leaves_the_version_before_in_force_and_nothing_half_written(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "kind", form="thing-1")
    checkpoints.save(params(1.0), {})
    files = sorted(path.name for path in (small_disk / "kind").iterdir())
    with full(small_disk), pytest.raises(BrainError, match="disk is full"):
        checkpoints.save(np.zeros(10_000, np.float32), {})
    current = checkpoints.current()
    assert current is not None and current.version == 1
    assert sorted(path.name for path in (small_disk / "kind").iterdir()) == files


def test_a_version_that_cannot_be_put_in_force_is_not_kept(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(params(1.0), {})
    (tmp_path / "kind" / "current.tmp").mkdir()  # in the way of naming another one
    with pytest.raises(OSError):
        checkpoints.save(params(2.0), {})
    assert checkpoints.versions() == [1]
