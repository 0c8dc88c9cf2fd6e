"""The slow timescale from end to end: requests -> traces -> curriculum -> student -> validation -> trial -> in service.

    python examples/tune_cycle.py --tiny                       a random LFM2-shaped model and made-up words; minutes
    python examples/tune_cycle.py --data clinc150.jsonl.gz     SmolLM2-135M learns what intents are called

Users ask, and say what the right answer would have been. `ruvllm tune` makes a student of that in a process of its own,
while this one goes on answering. The student then answers in the shadow of the model, then some sessions, then all.
Needs pip install 'ruvllm[train]'.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np

import ruvllm
from ruvllm.bench.random_model import Size, write_lfm2_folder
from ruvllm.config import ModelsConfig
from ruvllm.models import pull
from ruvllm.system import RuvLLM

TURNS = 4  # requests of a session
WHO = "baker captain doctor farmer fisher judge king miller monk nurse painter pilot poet sailor singer smith".split()
WHERE = "at noon|by the river|in a dream|from a train|after the storm|near the mill|on Sunday|in the garden|".split("|")
WHERE += "behind the church|over the hill|in the old town|at the harbour|before dawn|on a map|in a film|far away".split(
    "|"
)
REQUESTS, PAUSE_S = 60, 0.2  # of those that measure how long an answer takes


@dataclass(frozen=True)
class Task:
    """Questions with their answers: what users ask before the training, during the trial, and at the end."""

    model: str
    settings: str
    taught: list[tuple[str, str]]
    trial: list[tuple[str, str]]
    asked_again: list[tuple[str, str]]
    known: list[str]
    general: Path | None = None
    text: Path | None = None


@dataclass
class Timed:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say when it begins."""
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a random model; nothing is downloaded")
    parser.add_argument("--data", type=Path, help="CLINC150 as JSON Lines of {split, text, intent}")
    parser.add_argument("--general", type=Path, help="general text on which the student is held to its base")
    parser.add_argument("--text", type=Path, help="other general text, which shows what is forgotten")
    parser.add_argument("--folder", type=Path, help="where the brain is made; a temporary folder when left out")
    parser.add_argument("--examples", type=int, default=900, help="questions that users ask before the training")
    parser.add_argument("--requests", type=int, default=2000, help="of the shadow phase; a tenth of them as canary")
    given = parser.parse_args()
    if not given.tiny and given.data is None:
        parser.error("--data is needed, or --tiny")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        task = colours(folder) if given.tiny else intents(given)
        run(folder / "brain", task)


def run(brain: Path, task: Task) -> None:
    """Go through the whole cycle, print what each stage came to, and exit with 1 if the student is not promoted."""
    timed = Timed()
    brain.mkdir(exist_ok=True)
    (brain / "ruvllm.toml").write_text(task.settings)
    others = cycle(reversed(task.trial))
    with ruvllm.open(brain) as llm:
        llm.memory.add(task.known)
        with timed.stage("requests, and what users say is right"):
            before, _ = ask(llm, task.taught)
            quiet_ms = calmly(llm, others)
            for (_, answer), response in zip(task.taught, before, strict=True):
                llm.feedback(response.id, correction=answer)
        with timed.stage("training, in a process of its own; requests go on"):
            report, busy_ms = tuned(brain, task, lambda: calmly(llm, others))
        with timed.stage("shadow, then canary"):
            history = tried(llm, report["student"]["id"], task.trial)
        with timed.stage("asked again"):
            now, _ = ask(llm, task.asked_again)
        print_report(task, report, history, now, quiet_ms, busy_ms)
        for name, seconds in timed.seconds.items():
            print(f"{seconds / 60:6.1f} min  {name}")
        print(f"{sum(timed.seconds.values()) / 60:6.1f} min  in all")
        serving = llm.students.serving(task.model).promoted
    if serving is None:
        sys.exit("the student was not promoted")


def ask(llm: RuvLLM, questions: Sequence[tuple[str, str]]) -> tuple[list[ruvllm.Response], list[float]]:
    """Return the answers, and milliseconds of each; a user asks a few questions in a session."""
    responses, took_ms = [], []
    for question, _ in questions:
        started = time.perf_counter()
        responses.append(llm.ask(question))
        took_ms.append(1e3 * (time.perf_counter() - started))
    return responses, took_ms


def calmly(llm: RuvLLM, questions: Iterator[tuple[str, str]]) -> list[float]:
    """Return how long the next requests took, with pauses between them as people make them."""
    took_ms = []
    for question in islice(questions, REQUESTS):
        took_ms += ask(llm, [question])[1]
        time.sleep(PAUSE_S)
    return took_ms


def tuned(brain: Path, task: Task, meanwhile: Callable[[], list[float]]) -> tuple[dict, list[float]]:
    """Return the report of `ruvllm tune`, and how long requests took beside it."""
    command = [sys.executable, "-P", "-m", "ruvllm", "tune", str(brain), "--json"]
    command += ["--text", str(task.text)] if task.text is not None else []
    command += ["--general", str(task.general)] if task.general is not None else []
    took_ms: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        while child.poll() is None:
            took_ms += meanwhile()
        report = child.stdout.read()
    if child.returncode:
        sys.exit(f"the training failed (exit code {child.returncode})")
    told = json.loads(report)
    if told["student"]["step"] != "validated":
        reasons = [gate["reason"] for gate in told["result"]["gates"] if gate["reason"]]
        sys.exit(f"the student was refused: {told['result']['questions']} held-out questions, {reasons}")
    return told, took_ms


def tried(llm: RuvLLM, student: str, questions: Sequence[tuple[str, str]]) -> list[str]:
    """Ask until the trial has come to an end; return the student's steps."""
    llm.start_trial(student)
    while True:
        for number, (question, _) in enumerate(questions):
            llm.ask(question, session=f"user {number // TURNS}")
            if number % TURNS == TURNS - 1:
                llm.worker.flush()  # between two users there is time for the shadow
                if not llm.rollout():
                    return [f"{move.after}: {move.why}" for move in llm.students.history() if move.id == student]


def print_report(
    task: Task,
    report: dict,
    history: list[str],
    now: Sequence[ruvllm.Response],
    quiet_ms: Sequence[float],
    busy_ms: Sequence[float],
) -> None:
    """Print the training, the gates, the trial, and the answers of the end."""
    for phase in report["phases"]:
        print(
            f"{phase['name']}: {phase['examples']} examples, {phase['steps']} steps, {phase['seconds'] / 60:.1f} min, "
            f"held-out loss {phase['before_loss']:.3f} -> {phase['held_out_loss']:.3f}"
        )
    for gate in report["result"]["gates"]:
        print(f"{gate['metric']}: {gate['baseline']:.4g} -> {gate['student']:.4g} {gate['reason']}")
    print(*history, sep="\n")
    right = sum(said.text.strip() == answer for said, (_, answer) in zip(now, task.asked_again, strict=True))
    print(f"asked again: {right} of {len(now)} questions that nobody had asked before are answered right")
    p95 = [float(np.percentile(one, 95)) for one in (quiet_ms, busy_ms)]
    p50 = [float(np.median(one)) for one in (quiet_ms, busy_ms)]
    print(f"{len(quiet_ms)} requests before the training: {p50[0]:.0f} ms (p95 {p95[0]:.0f} ms)")
    print(f"{len(busy_ms)} requests during it: {p50[1]:.0f} ms (p95 {p95[1]:.0f} ms)")


def intents(given: argparse.Namespace) -> Task:
    """SmolLM2-135M, which is to say what users want; memory holds what there is to want."""
    with gzip.open(given.data, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    asked: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    for row in rows:
        if row["split"] in asked:
            asked[row["split"]].append((f"Intent of: {row['text']}", row["intent"].replace("_", " ")))
    for split in asked.values():
        random.Random(0).shuffle(split)
    known = sorted({f"{row['domain']}: {row['intent'].replace('_', ' ')}" for row in rows if row["split"] in asked})
    settings = f"""
    [generation]
    model = "smollm2-135m"
    max_new_tokens = 12
    [retrieval]
    k = 3
    [training]
    learning_rate = 2e-3
    batch_size = 32
    blocks = 10
    dropout = 0.0
    [rollout]
    shadow_requests = {given.requests}
    canary_requests = {given.requests // 10}
    canary_share = 0.3
    """
    taught, trial = asked["train"][: given.examples], asked["train"][given.examples :]
    return Task("smollm2-135m", settings, taught, trial, asked["val"][:200], known, given.general, given.text)


def colours(folder: Path) -> Task:
    """A random model of three blocks, which is to say what colour things have; memory knows."""
    base = write_lfm2_folder(folder / "tiny-lfm2", Size())
    tier = pull(f"path:{base}", ModelsConfig(cache_dir=str(folder / "cache")))
    settings = f"""
    [generation]
    model = "{tier}"
    max_new_tokens = 8
    num_threads = 1
    [retrieval]
    k = 2
    [training]
    base = "{base}"
    batch_size = 8
    learning_rate = 1e-2
    rank = 8
    epochs = 6.0
    holdout = 0.38
    [rollout]
    shadow_requests = 200
    canary_requests = 100
    canary_share = 0.5
    quality_margin = 0.3
    canary_margin = 0.3
    failure_margin = 0.2
    latency_ratio = 10.0
    """
    things = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}
    questions = [
        (f"The {who} asks {where}: what colour is {thing}?", colour)
        for who in WHO
        for where in WHERE
        for thing, colour in things.items()
    ]
    random.Random(0).shuffle(questions)
    known = [f"The {thing} is {colour}." for thing, colour in things.items()]
    return Task(str(tier), settings, questions[:480], questions[480:900], questions[900:], known)


if __name__ == "__main__":
    main()
