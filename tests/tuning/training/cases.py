"""Tiny models and curricula that a training gets through in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from models import tiny, tiny_lfm2
from models.converted import CHATML

from ruvllm.config import TrainingConfig
from ruvllm.models.convert import convert
from ruvllm.tuning.data_card import DataCard
from ruvllm.tuning.formats import carded, write_folder

OPTIONS = TrainingConfig(epochs=2.0, batch_size=8, learning_rate=1e-2, rank=4, minutes=0.0, threads=1, dropout=0.0)
COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}


def needs_training() -> Any:
    """Skip where the extra `train` is not installed."""
    for name in ("torch", "transformers", "peft", "trl"):
        pytest.importorskip(name, reason="needs pip install 'ruvllm[train]'")


def lfm2(folder: Path) -> Path:
    """A random LFM2-shaped model of 3 blocks as a Hugging Face folder."""
    return tiny_lfm2.write_lfm2_folder(folder / "tiny-lfm2", tiny_lfm2.Size())


def llama(folder: Path) -> Path:
    """A random Llama-shaped model, exported from a GGUF file as a Hugging Face folder."""
    source = tiny.write_gguf(folder / "tiny.gguf", tiny.decoder_weights(), extra={"tokenizer.chat_template": CHATML})
    target = folder / "tiny-llama"
    target.mkdir()
    convert(source, target, model="tiny-llama", quantization="hf")
    return target


def examples(n: int = 48) -> list[dict[str, Any]]:
    """Questions about colours, each with its answer."""
    things = list(COLOURS.items())
    return [example(f"{things[i % 4][0]} {i}?", things[i % 4][1], trace=str(i)) for i in range(n)]


def example(question: str, answer: str, *, weight: float = 1.0, trace: str = "") -> dict[str, Any]:
    """One row of sft.jsonl."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "weight": weight, "trace": trace, "tags": {}}


def preferences(n: int = 24) -> list[dict[str, Any]]:
    """Questions about colours, the right answer chosen over a wrong one."""
    rows = examples(n)
    return [
        {
            "prompt": row["messages"][:1],
            "chosen": row["messages"][1:],
            "rejected": [{"role": "assistant", "content": "purple"}],
        }
        for row in rows
    ]


def curriculum(folder: Path, **sets: list[dict[str, Any]]) -> Path:
    """A curriculum folder with these sets; the others are empty."""
    rows = {"sft": [], "preferences": [], "corrections": []} | sets
    write_folder(folder / "curriculum", rows, carded(DataCard(), rows))
    return folder / "curriculum"
