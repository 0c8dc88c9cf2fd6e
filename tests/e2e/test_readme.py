"""The documentation: its links lead somewhere, and its code blocks run as they stand, in order, in an empty folder with
a `docs` folder in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from ruvllm.config import SignalsConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))


def blocks(page: str) -> list[tuple[str, str]]:
    """Return (language, text) of every block of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_first_two_commands_are_install_and_test() -> None:
    commands = [text.strip() for language, text in blocks("README.md") if language == "sh"]
    assert commands[:2] == ["pip install . && ruvllm demo", 'pip install ".[test]" && pytest']


@pytest.mark.e2e
@pytest.mark.real
def test_blocks_run(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    shutil.copytree(DOCUMENTS, tmp_path / "docs")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for language, text in blocks("README.md"):
        if "pip install" in text:
            continue  # whoever runs this has done that
        if language == "toml":
            continue  # read below
        shell = {"python": [sys.executable, "-W", "error", "-c"], "sh": ["bash", "-euc"]}[language]
        done = subprocess.run(
            [*shell, text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 4


def test_the_kernels_page_runs() -> None:
    pages = [text for language, text in blocks("docs/kernels.md") if language == "python"]
    for text in pages:
        done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "[10 20 30] [0 1 2]" in done.stdout
    assert pages


def test_the_router_page_runs(tmp_path: Path) -> None:
    for text in [text for language, text in blocks("docs/router.md") if language == "python"]:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", text], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"


@pytest.mark.parametrize("page", ["README.md", "docs/router.md"])
def test_settings_that_are_shown_are_settings(tmp_path: Path, page: str) -> None:
    for text in [text for language, text in blocks(page) if language == "toml"]:
        (tmp_path / "ruvllm.toml").write_text(text, encoding="utf-8")
        assert len(load_config(tmp_path / "ruvllm.toml", environment={}).models.tiers) > 1


def test_signals_are_settings(tmp_path: Path) -> None:
    (text,) = [text for language, text in blocks("docs/outcomes.md") if language == "toml"]
    (tmp_path / "ruvllm.toml").write_text(text, encoding="utf-8")
    shown = load_config(tmp_path / "ruvllm.toml", environment={}).signals
    assert shown == SignalsConfig(enabled=True)  # what is shown are the defaults


@pytest.mark.real
def test_the_outcomes_page_runs(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    (text,) = [text for language, text in blocks("docs/outcomes.md") if language == "python"]
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "state      superseded" in done.stdout


@pytest.mark.real
def test_the_runtime_page_runs(smollm2_dir: Path) -> None:
    (text,) = [text for language, text in blocks("docs/runtime.md") if language == "python"]
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The capital of France is Paris.")


def test_the_rollout_page_runs() -> None:
    _, text = [text for language, text in blocks("docs/tuning/validation.md") if language == "python"]
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Rollout of LFM2-ruv-edition-v1")


@pytest.mark.real
@pytest.mark.parametrize("page", ["docs/compression.md", "docs/judge.md", "docs/service.md"])
def test_a_page_runs_in_an_empty_brain(tmp_path: Path, page: str, minilm_dir: Path, smollm2_dir: Path) -> None:
    (text,) = [text for language, text in blocks(page) if language == "python"]
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
