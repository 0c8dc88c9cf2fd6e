"""The decode bench runs on a tiny random model; engines that are not installed are left out, and said so."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ruvllm.bench import decoders, guesses
from ruvllm.bench.decode import Settings, run
from ruvllm.bench.decoders import LlamaCpp, speeds
from ruvllm.bench.random_model import Size
from ruvllm.bench.sessions import Lengths

LENGTHS = Lengths(first_turn=40, second_turn=4, short_context=8, long_context=16, steps=3)
NO_LLAMA = ["import sys", 'print(\'{"error": "ModuleNotFoundError: llama_cpp"}\')']


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A model of three layers and no peers."""
    monkeypatch.setattr(decoders, "peer", lambda module: None)
    return Settings(
        cache=tmp_path / "cache",
        num_threads=1,
        rounds=1,
        prompt_tokens=8,
        new_tokens=3,
        lfm2=Size(),
        lengths=LENGTHS,
        llama_python=_python(tmp_path, NO_LLAMA),
    )


def _python(folder: Path, lines: list[str]) -> str:
    """Return an interpreter that runs these lines whatever it is told to run."""
    (folder / "lines.py").write_text("\n".join(lines))
    script = folder / "python"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {folder / 'lines.py'}\n")
    script.chmod(0o755)
    return str(script)


def test_both_quantizations_are_measured_reading_and_writing(settings: Settings) -> None:
    report = run(settings, ["lfm2-350m"])
    assert report.bench == "decode"
    assert [row.name.partition("shape ")[2] for row in report.rows] == [
        "int8, decode, 1 thread",
        "int8, prefill of 8, 1 thread",
        "int4, decode, 1 thread",
        "int4, prefill of 8, 1 thread",
    ]
    assert all(row.value > 0 and row.unit == "tokens/s" and not row.peers for row in report.rows)
    assert report.rows[0].floor is not None and report.rows[2].floor > report.rows[0].floor


def test_sessions_are_measured(settings: Settings) -> None:
    names = [row.name.partition("int8, ")[2] for row in run(settings, ["sessions"]).rows]
    assert names == [
        "second turn of 4 tokens after 40, time to first token",
        "8 sessions decoding together",
        "int8 KV, decode after 16 tokens",
        "load until the first token, warm file cache",
        "8 answers to one context scored together",
    ]


@pytest.mark.real
def test_answers_with_guesses_are_measured_beside_those_without(smollm2_dir: Path) -> None:
    (row,) = guesses.rows("SmolLM2", smollm2_dir, num_threads=1)
    assert row.name == "SmolLM2, answers made of a source"
    assert row.value > 0 and set(row.peers) == {"without guesses"}


def test_models_are_made_once(settings: Settings) -> None:
    run(settings, ["lfm2-350m"])
    made = {path: path.stat().st_mtime_ns for path in settings.cache.rglob("*") if path.is_file()}
    run(settings, ["lfm2-350m"])
    assert made == {path: path.stat().st_mtime_ns for path in settings.cache.rglob("*") if path.is_file()}
    assert not list(settings.cache.glob("*.partial"))


def test_an_unknown_part_is_refused_with_the_known_ones(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"only must name parts of the bench: lfm2-350m, .* \(nonsense\)"):
        run(settings, ["nonsense"])


@pytest.mark.parametrize("name", ["num_threads", "rounds", "prompt_tokens", "new_tokens"])
def test_a_setting_below_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be >= 1 \(0\)"):
        Settings(**{"cache": tmp_path, "num_threads": 1, name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "said"), [(NO_LLAMA, "ModuleNotFoundError: llama_cpp"), (["import os", "os._exit(7)"], "it ended with 7")]
)
def test_a_missing_or_broken_llama_cpp_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: list[str], said: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert LlamaCpp.open(_python(tmp_path, lines), tmp_path / "x.gguf", num_threads=1, context_tokens=64) is None
    assert f"peer llama.cpp is left out: {said}" in caplog.text


def test_an_interpreter_that_is_not_there_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert LlamaCpp.open(str(tmp_path / "none"), tmp_path / "x.gguf", num_threads=1, context_tokens=64) is None
    assert "peer llama.cpp is left out" in caplog.text


def test_llama_cpp_answers_in_seconds_until_it_stops(tmp_path: Path) -> None:
    lines = ["print('{\"ready\": 1}', flush=True)", "input()", "print('{\"seconds\": 0.5}', flush=True)", "input()"]
    llama = LlamaCpp.open(_python(tmp_path, lines), tmp_path / "x.gguf", num_threads=1, context_tokens=64)
    assert llama is not None and llama.prefill([1, 2]) == 0.5
    with pytest.raises(RuntimeError, match=r"llama\.cpp stopped: it ended with 0"):
        llama.decode(3)
    llama.close()


class Steady:
    """Half a second a prompt, a quarter for new tokens."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def prefill(self, ids: object) -> float:
        self.calls.append("prefill")
        return 0.5

    def decode(self, count: int) -> float:
        self.calls.append("decode")
        return 0.25


def test_speeds_are_tokens_a_second_after_a_first_round_that_does_not_count() -> None:
    steady = Steady()
    assert speeds({"steady": steady}, range(10), 8, rounds=2)["steady"] == decoders.Speed(prefill=20.0, decode=32.0)
    assert steady.calls == ["prefill", "decode"] * 3
