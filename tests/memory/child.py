"""Run by tests in a process of its own: search once, read a folder in, leave without closing, move to another embedder,
or ingest without end, saying on stdout what is acknowledged."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from fakes import WordEmbedder, cold, interaction, routed

from ruvllm.config import load_config
from ruvllm.errors import BrainLocked
from ruvllm.memory import IngestProgress, Memory, ReembedProgress
from ruvllm.types import EdgeType, Feedback

kept: list[Memory] = []  # alive until the interpreter ends


def search(brain: str, query: str) -> None:
    with Memory(brain, embedder=WordEmbedder()) as memory:
        print("read_only", memory.read_only)
        for hit in memory.search(query):
            print(hit.node.text)


def read(brain: str, documents: str) -> None:
    """Open the brain, wait for a line and ingest a folder."""
    with Memory(brain, embedder=WordEmbedder()) as memory:
        say("open")
        sys.stdin.readline()
        try:
            say(f"added {memory.ingest(Path(documents)).added}")
        except BrainLocked:
            say("locked")
        sys.stdin.readline()


def leave(brain: str, cache: str) -> None:
    """Record two answers on the real encoder "tiny-bert" and end without closing."""
    overrides = {
        "models": {"cache_dir": cache, "offline": True},
        "embedding": {"model": "tiny-bert", "dim": 64, "num_threads": 2},
        "store": {"flush_interval_s": 3600.0},
    }
    memory = Memory(brain, config=load_config(environment={}, overrides=overrides))
    kept.append(memory)
    for i in range(2):
        memory.record(interaction(f"a{i}", query="hello world", answer="hello a b c"))


def ingest(brain: str, documents: str, start: str) -> None:
    """Ingest ever new files (HNSW from 50 on), insert facts and edges, record, rate, promote answers, forget."""
    config = load_config(environment={}, overrides={"index": {"exact_below": 50, "m": 8, "ef_construction": 32}})
    memory = Memory(brain, embedder=WordEmbedder(), config=config)
    say("open")
    for i in count(int(start)):
        files = [Path(documents) / f"{i}-{j}.md" for j in range(3)]
        for j, file in enumerate(files):
            file.write_text("".join(f"# Part {p}\n\nround{i} file{j} part{p} has some words.\n\n" for p in range(4)))
        memory.ingest(files, on_progress=lambda progress: say_document(progress))
        say(f"node {memory.insert_node(f'fact of round{i} alone')}")
        memory.record(routed(f"a{i}", source_ids=(1, 2)))
        memory.feedback(f"a{i}", Feedback(rating=5))
        say(f"feedback a{i}")
        memory.insert_edge(*memory.insert_nodes([f"left of round{i}", f"right of round{i}"]), EdgeType.CITES, 0.75)
        say(f"edge left of round{i}")
        for session in ("one", "two"):
            fields = {"query": f"ask{i}?", "answer": f"answer{i} found"}
            memory.record(interaction(f"{session}{i}", session=session, **fields))
            memory.feedback(f"{session}{i}", Feedback(rating=5))
        say(f"promoted two{i}")
        memory.forget(files[0])
        say(f"forgotten {files[0]}")
        memory.set_trust(str(files[1]), 0.5)
        say(f"trusted {files[1]}")
        if i % 3 == 2:
            memory.apply_decay()
        if i % 5 == 3:
            memory.run_archival(max_age_days=0.0, min_use_count=1 << 30)
        if i % 5 == 4:
            memory.rehydrate(cold(memory))
            memory.compact()


def reembed(brain: str) -> None:
    """Move the brain to "words-48"; after each batch say how far that is and wait for a line."""

    def wait(progress: ReembedProgress) -> None:
        say(str(progress.nodes_done))
        sys.stdin.readline()

    Memory(brain, embedder=WordEmbedder()).reembed(WordEmbedder(48, "words-48"), on_progress=wait)


def say_document(progress: IngestProgress) -> None:
    say(f"document {progress.source}")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    {"search": search, "read": read, "leave": leave, "ingest": ingest, "reembed": reembed}[sys.argv[1]](*sys.argv[2:])
