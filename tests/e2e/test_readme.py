"""The README's code blocks run as they stand, in order, in an empty folder with a `docs` folder in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def test_the_first_two_commands_are_install_and_test() -> None:
    commands = [text.strip() for language, text in BLOCKS if language == "sh"]
    assert commands[:2] == ["pip install . && ruvllm demo", 'pip install ".[test]" && pytest']


@pytest.mark.e2e
@pytest.mark.real
def test_blocks_run(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    shutil.copytree(DOCUMENTS, tmp_path / "docs")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for language, text in BLOCKS:
        if "pip install" in text:
            continue  # whoever runs this has done that
        shell = {"python": [sys.executable, "-W", "error", "-c"], "sh": ["bash", "-euc"]}[language]
        done = subprocess.run(
            [*shell, text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 4
