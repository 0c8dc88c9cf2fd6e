"""The signed log and the key that signs it."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ruvllm.checkpoints.signing import SignedLog, local_key
from ruvllm.errors import RegistryDamaged

KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys" / "signing.key"
    monkeypatch.setenv("RUVLLM_SIGNING_KEY", str(path))
    return path


def test_the_key_is_made_once_for_its_owner_alone(key_file: Path) -> None:
    key = local_key()
    assert len(key) == 32 and local_key() == key
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_threads_that_make_a_key_at_once_have_the_same(key_file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len({*threads.map(lambda _: local_key(), range(8))}) == 1
    assert [path.name for path in key_file.parent.iterdir()] == ["signing.key"]


def test_a_file_that_holds_no_key_is_named(key_file: Path) -> None:
    key_file.parent.mkdir()
    key_file.write_text("secret")
    with pytest.raises(ValueError, match=r"signing\.key must hold a key of 64 hexadecimal digits"):
        local_key()


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    log = SignedLog(tmp_path / "log", lambda: KEY)
    for said in (b'{"a":1}', b'{"b":2}'):
        log.append(said)
    assert SignedLog(tmp_path / "log", lambda: KEY).read() == [b'{"a":1}', b'{"b":2}']


def test_reading_nothing_needs_no_key(tmp_path: Path) -> None:
    def no_key() -> bytes:
        raise AssertionError("nobody needs it")

    log = SignedLog(tmp_path / "log", no_key)
    assert log.read() == [] and log.stamp() is None


def test_a_line_copied_from_another_log_is_refused(tmp_path: Path) -> None:
    log, other = (SignedLog(tmp_path / name, lambda: KEY) for name in ("log", "other"))
    log.append(b'{"a":1}')
    for said in (b'{"b":2}', b'{"c":3}'):
        other.append(said)
    copied = other.path.read_bytes().splitlines(keepends=True)[1]
    log.path.write_bytes(log.path.read_bytes() + copied)
    with pytest.raises(RegistryDamaged, match="line 2 is not what was signed"):
        log.read()


@pytest.mark.parametrize("mac", ["é" * 64, "", "0" * 64])
def test_a_mac_of_other_letters_is_refused(tmp_path: Path, mac: str) -> None:
    log = SignedLog(tmp_path / "log", lambda: KEY)
    log.append(b'{"a":1}')
    line = json.loads(log.path.read_bytes())
    log.path.write_text(json.dumps(line | {"mac": mac}) + "\n")
    with pytest.raises(RegistryDamaged, match="line 1 is not what was signed"):
        log.read()


def test_a_line_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    log = SignedLog(tmp_path / "log", lambda: KEY)
    log.path.write_bytes(b'{"said":' + b"[" * 100_000 + b"\n")
    with pytest.raises(RegistryDamaged, match="line 1 cannot be read"):
        log.read()
