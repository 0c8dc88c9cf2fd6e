"""`ruvllm bench decode`: tokens a second of the runtime beside other engines, and what sessions save.

    ruvllm bench decode --threads 2 --llama-python PYTHON_WITH_LLAMA_CPP_PYTHON --cache FOLDER

`--only lfm2-350m`, `smollm2-135m`, `guesses` or `sessions` runs a part. Weights of LFM2 are random ones of the true
shape: they take the same time. Peers are measured in the same rounds; `floor` is what the read bandwidth of as many
threads, measured right after them, would allow if a token had to read all weights once and nothing else took time.
Every figure needs an idle machine: engines whose threads wait by spinning lose most on a busy one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ruvllm.bench import guesses, sessions
from ruvllm.bench.decoders import CTranslate2, Decoder, LlamaCpp, Runtime, Speed, Transformers, speeds
from ruvllm.bench.prepared import lfm2_folder, lfm2_gguf, lfm2_model, smollm2_gguf
from ruvllm.bench.random_model import LFM2_350M, Size
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.timing import compared
from ruvllm.config import ModelsConfig
from ruvllm.inference.open import find_or_pull
from ruvllm.kernels.probe import read_bandwidth

__all__ = ["PARTS", "Settings", "run"]

PROBE_BYTES = 256 << 20
LLAMA_OF = {"int8": "Q8_0", "int4": "Q4_0"}
DECODE_RATIO = {"int8": 1.35, "int4": 1.3}  # targets, to the best peer of as many bits


@dataclass(frozen=True, slots=True)
class Settings:
    """How decoding is measured.

    Attributes:
        cache: folder that keeps the models made for the bench, about 1.8 GB.
        num_threads: of every engine.
        rounds: every engine is measured once a round.
        llama_python: interpreter, of Python 3.11 or later, with llama-cpp-python.
        lfm2: shape of the random model.
        lengths: of what sessions are measured on.
        models: where SmolLM2 lies, or is fetched to.
    """

    cache: Path
    num_threads: int
    rounds: int = 5
    prompt_tokens: int = 512
    new_tokens: int = 64
    llama_python: str = sys.executable
    lfm2: Size = LFM2_350M
    lengths: sessions.Lengths = field(default_factory=sessions.Lengths)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    on_part: Callable[[str], None] = lambda part: None

    def __post_init__(self) -> None:
        for name in ("num_threads", "rounds", "prompt_tokens", "new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1 ({getattr(self, name)})")


def run(settings: Settings, only: Sequence[str] = ()) -> Report:
    """Measure the parts named in `only`, or all of them; minutes each.

    Raises:
        ValueError: a name in `only` is no part.
        PullError: SmolLM2 cannot be fetched.
    """
    for name in only:
        if name not in PARTS:
            raise ValueError(f"only must name parts of the bench: {', '.join(PARTS)} ({name})")
    rows: list[Row] = []
    for name in only or PARTS:
        settings.on_part(name)
        with ExitStack() as stack:
            rows.extend(PARTS[name](settings, stack))
    return make_report("decode", rows)


def _lfm2(settings: Settings, stack: ExitStack) -> Iterator[Row]:
    ours = {
        q: Runtime(lfm2_model(settings.cache, settings.lfm2, q), num_threads=settings.num_threads) for q in LLAMA_OF
    }
    peers: dict[str, Decoder] = {}
    for kind in LLAMA_OF.values():
        if (llama := _llama(settings, stack, lfm2_gguf(settings.cache, settings.lfm2, kind))) is not None:
            peers[f"llama.cpp {kind}"] = llama
    folder = lfm2_folder(settings.cache, settings.lfm2)
    if (transformers := Transformers.open(folder, num_threads=settings.num_threads)) is not None:
        peers["transformers bf16"] = transformers
    found = speeds({**ours, **peers}, *_work(settings, settings.lfm2.vocab), rounds=settings.rounds)
    for quantization, runtime in ours.items():
        wanted = LLAMA_OF[quantization]
        of_as_many_bits = {label: found[label] for label in peers if wanted in label or "bf16" in label}
        yield from _rows(
            f"LFM2-350M shape {quantization}",
            settings,
            runtime,
            found[quantization],
            decode_peers=of_as_many_bits,
            prefill_peers={label: found[label] for label in peers},
            decode_ratio=DECODE_RATIO[quantization],
            prefill_ratio=2.0,
        )


def _smollm2(settings: Settings, stack: ExitStack) -> Iterator[Row]:
    folders = {
        "int8": find_or_pull("smollm2-135m", settings.models, task="generate"),
        "int4": find_or_pull("smollm2-135m@int4", settings.models, task="generate"),
    }
    ours = {q: Runtime(folder, num_threads=settings.num_threads) for q, folder in folders.items()}
    peers: dict[str, Decoder] = {}
    if (llama := _llama(settings, stack, smollm2_gguf(settings.cache))) is not None:
        peers["llama.cpp Q4_1"] = llama
    for threads in sorted({1, settings.num_threads}):  # its decoding is faster on one
        peers[f"CTranslate2 int8, {_threads(threads)}"] = CTranslate2(folders["int8"], num_threads=threads)
    found = speeds({**ours, **peers}, *_work(settings, ours["int8"].model.vocab_size), rounds=settings.rounds)
    others = {label: found[label] for label in peers}
    for quantization, runtime in ours.items():
        yield from _rows(
            f"SmolLM2-135M {quantization}",
            settings,
            runtime,
            found[quantization],
            decode_peers=others,
            prefill_peers=others,
            decode_ratio=1.5,
            prefill_ratio=2.5,
        )


def _rows(
    name: str,
    settings: Settings,
    runtime: Runtime,
    speed: Speed,
    *,
    decode_peers: dict[str, Speed],
    prefill_peers: dict[str, Speed],
    decode_ratio: float,
    prefill_ratio: float,
) -> Iterator[Row]:
    bandwidth = read_bandwidth(PROBE_BYTES, settings.num_threads)
    yield compared(
        f"{name}, decode, {_threads(settings.num_threads)}",
        speed.decode,
        {label: peer.decode for label, peer in decode_peers.items()},
        unit="tokens/s",
        target_ratio=decode_ratio,
        floor=bandwidth / runtime.size_bytes,
        more_is_better=True,
    )
    yield compared(
        f"{name}, prefill of {settings.prompt_tokens}, {_threads(settings.num_threads)}",
        speed.prefill,
        {label: peer.prefill for label, peer in prefill_peers.items()},
        unit="tokens/s",
        target_ratio=prefill_ratio,
        more_is_better=True,
    )


def _sessions(settings: Settings, stack: ExitStack) -> Iterator[Row]:
    llama = _llama(settings, stack, lfm2_gguf(settings.cache, settings.lfm2, "Q8_0"))
    return sessions.rows(
        "LFM2-350M shape int8",
        lfm2_model(settings.cache, settings.lfm2, "int8"),
        num_threads=settings.num_threads,
        rounds=settings.rounds,
        lengths=settings.lengths,
        load_peers={} if llama is None else {"llama.cpp Q8_0": llama.load},
    )


def _guesses(settings: Settings, stack: ExitStack) -> Iterator[Row]:
    for name in ("smollm2-135m", "smollm2-135m@int4"):
        folder = find_or_pull(name, settings.models, task="generate")
        yield from guesses.rows(name, folder, num_threads=settings.num_threads)


PARTS: dict[str, Callable[[Settings, ExitStack], Iterator[Row]]] = {
    "lfm2-350m": _lfm2,
    "smollm2-135m": _smollm2,
    "guesses": _guesses,
    "sessions": _sessions,
}


def _work(settings: Settings, vocab_size: int) -> tuple[list[int], int]:
    ids = np.random.default_rng(0).integers(vocab_size // 8, vocab_size, settings.prompt_tokens)
    return ids.tolist(), settings.new_tokens


def _llama(settings: Settings, stack: ExitStack, gguf: Path) -> LlamaCpp | None:
    context_tokens = max(settings.prompt_tokens, settings.new_tokens + 8)
    llama = LlamaCpp.open(settings.llama_python, gguf, num_threads=settings.num_threads, context_tokens=context_tokens)
    if llama is not None:
        stack.callback(llama.close)
    return llama


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
