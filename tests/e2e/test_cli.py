"""The command line as a user types it, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from ruvllm.viz import can_draw_png

pytestmark = [pytest.mark.e2e]

DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))
COMMAND = [str(Path(sys.executable).parent / "ruvllm")]


def run(
    *arguments: object, cwd: Path, code: int = 0, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"RUVLLM_MODELS__OFFLINE": "true", "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.real
def test_a_day_with_a_brain(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    assert "6 added" in run("ingest", DOCUMENTS, cwd=tmp_path).stdout
    assert "6 unchanged" in run("ingest", DOCUMENTS, cwd=tmp_path).stdout
    answer = json.loads(run("ask", "Where is the rescue sled kept?", "--json", cwd=tmp_path).stdout)
    assert "hut three" in answer["text"]
    run("feedback", answer["id"], "--rating", 5, "--helped", 1, "--rater", "bob", cwd=tmp_path)
    assert answer["id"] in run("router", "log", cwd=tmp_path).stdout
    assert "smollm2-135m answered" in run("router", "explain", answer["id"], cwd=tmp_path).stdout
    assert json.loads(run("stats", "--json", cwd=tmp_path).stdout)["interactions"] == 1
    assert "everything agrees" in run("check", cwd=tmp_path).stdout
    run("export", "brain.jsonl.gz", cwd=tmp_path)
    run("import", "brain.jsonl.gz", "--brain", "copy", cwd=tmp_path)
    copy = json.loads(run("stats", "--json", "--brain", "copy", cwd=tmp_path).stdout)
    assert copy["interactions"] == 1 and copy["documents"] == 6
    assert "deleted" in run("forget", DOCUMENTS / "power.md", cwd=tmp_path).stdout
    assert json.loads(run("stats", "--json", cwd=tmp_path).stdout)["documents"] == 5


@pytest.mark.real
def test_brain_moves_and_takes_in_texts_from_elsewhere(tmp_path: Path, minilm_dir: Path) -> None:
    (tmp_path / "dump.json").write_text('{"results": [{"id": "m-1", "memory": "The sled is in hut three."}]}')
    assert "1 entry read" in run("import", "dump.json", cwd=tmp_path).stdout
    short = {"RUVLLM_EMBEDDING__MAX_TOKENS": "128", "RUVLLM_INGEST__CHUNK_TOKENS": "100"}
    (tmp_path / "more.json").write_text('["The boat is in hut four."]')
    assert "ruvllm reembed" in run("import", "more.json", cwd=tmp_path, code=2, **short).stderr
    assert "1 node embedded" in run("reembed", "minilm-l6", cwd=tmp_path, **short).stdout
    assert (tmp_path / "brain" / "ruvllm.toml").read_text() == '[embedding]\nmodel = "minilm-l6"\n'
    run("import", "more.json", "--format", "texts", cwd=tmp_path, **short)
    assert json.loads(run("stats", "--json", cwd=tmp_path).stdout)["embedder"].endswith("-128")


@pytest.mark.real
def test_demo_answers_learns_and_draws(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    shown = run("demo", cwd=tmp_path, timeout=400).stdout
    for answer in ("Solheim", "hut three", "terns attack", "8,000 years", "three short blasts"):
        assert answer in shown
    right = re.search(r"(\d) of 6 right before, (\d) after", shown)
    assert right and int(right[1]) == 0 and int(right[2]) >= 3
    last = shown[shown.index("Now: ruvllm why") :]
    assert "Jonas Vik repairs the radios." in last and "by mark, helped" in last
    folder = tmp_path / "ruvllm-demo"
    assert (folder / "graph.svg").read_text().startswith("<svg")
    assert "0 to 6; at 7, after learn()" in (folder / "curve.svg").read_text()
    assert (folder / "curve.png").exists() == can_draw_png()
    assert not can_draw_png() or (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    newest = json.loads(run("why", "--json", "--brain", folder, cwd=tmp_path).stdout)
    assert newest["question"] == "Who should I ask about a broken radio?"


def test_demo_leaves_a_brain_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "brain.db").write_text("precious")
    said = run("demo", "--brain", "mine", cwd=tmp_path, code=2).stderr
    assert "holds a brain already" in said and "another folder with --brain, or delete this one" in said
    assert (tmp_path / "mine" / "brain.db").read_text() == "precious"


@pytest.mark.real
def test_chat_remembers_and_takes_ratings(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    run("ingest", DOCUMENTS, cwd=tmp_path)
    done = subprocess.run(
        [*COMMAND, "chat"],
        cwd=tmp_path,
        input="Who founded Tern Point Station?\n+\n-\n\n",
        env=os.environ | {"RUVLLM_MODELS__OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Solheim" in done.stdout and done.stdout.count("noted") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "why?"], "brain is not a directory"),
        (["stats", "--brain", "nowhere"], "nowhere is not a directory"),
        (["pull", "no-such-model"], "no-such-model"),
        (["models", "remove", "no-such-model"], "no-such-model"),
    ],
)
def test_mistakes_are_one_line_on_stderr(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert done.stdout == "" and message in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain" / "ruvllm.toml").write_text("[retrieval]\nkk = 3\n")
    assert "retrieval.k" in run("config", "show", cwd=tmp_path, code=2).stderr


def test_config_show_is_valid_toml(tmp_path: Path) -> None:
    shown = run("config", "show", cwd=tmp_path, RUVLLM_RETRIEVAL__K="9").stdout
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain" / "ruvllm.toml").write_text(shown)
    assert run("config", "show", cwd=tmp_path).stdout == shown
    assert "k = 9" in shown


def test_the_catalogue_can_be_listed(tmp_path: Path) -> None:
    shown = run("pull", "--list", cwd=tmp_path).stdout
    for name in ("smollm2-135m", "minilm-l6", "lfm2-350m", "lfm2-2.6b"):
        assert name in shown


@pytest.mark.real
def test_ctrl_c_during_ingest_loses_nothing(tmp_path: Path, minilm_dir: Path) -> None:
    documents = tmp_path / "many"
    documents.mkdir()
    for i in range(400):
        (documents / f"{i}.md").write_text(f"# Note {i}\n\n" + f"The lamp number {i} hangs in hall {i % 7}. " * 30)
    process = subprocess.Popen(
        [*COMMAND, "ingest", "many"],
        cwd=tmp_path,
        env=os.environ | {"RUVLLM_MODELS__OFFLINE": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = tmp_path / "brain" / "brain.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not _documents(database):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert "everything agrees" in run("check", cwd=tmp_path).stdout
    counts = re.match(r"(\d+) added, 0 updated, (\d+) unchanged", run("ingest", "many", cwd=tmp_path).stdout)
    assert counts and int(counts[1]) + int(counts[2]) == 400


def _documents(database: Path) -> bool:
    return database.exists() and database.with_name("brain.db-wal").exists()


def test_what_the_terminal_cannot_show_is_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain" / "ruvllm.toml").write_text('[generation]\nmodel = "häng-λ"\n', encoding="utf-8")
    shown = run("config", "show", cwd=tmp_path, PYTHONIOENCODING="ascii").stdout
    assert 'model = "h?ng-?"' in shown


def test_what_the_c_locale_cannot_show_is_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain" / "ruvllm.toml").write_text('[generation]\nmodel = "häng-λ"\n', encoding="utf-8")
    shown = run("config", "show", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").stdout
    assert 'model = "h?ng-?"' in shown


@pytest.mark.real
def test_what_a_pdf_lacks_is_said_once(tmp_path: Path, minilm_dir: Path) -> None:
    pytest.importorskip("pypdf", reason="the pdf extra is not installed")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 garbage")
    stderr = run("ingest", "broken.pdf", cwd=tmp_path, code=1).stderr
    assert stderr.startswith("not read: ") and stderr.count("\n") == 1


@pytest.mark.real
def test_chat_without_a_stdin_ends(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    run("ingest", DOCUMENTS / "power.md", cwd=tmp_path)
    done = subprocess.run(
        ["sh", "-c", '"$0" chat <&-', *COMMAND],
        cwd=tmp_path,
        env=os.environ | {"RUVLLM_MODELS__OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
