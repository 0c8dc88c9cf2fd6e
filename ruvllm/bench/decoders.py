"""Engines that read prompts and go on from them, each behind the same two questions: how long does a prompt take, how
long a number of new tokens."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ruvllm.bench import llama_worker
from ruvllm.bench.timing import peer
from ruvllm.inference.runtime_model import open_runtime
from ruvllm.kernels import RuntimeSampler
from ruvllm.models import read_card

__all__ = ["CTranslate2", "Decoder", "LlamaCpp", "Runtime", "Speed", "Transformers", "speeds"]

logger = logging.getLogger(__name__)

START = (1, 100)  # tokens that decoding goes on from: the context is short, so that the weights are what is read


class Decoder(Protocol):
    """An engine with its weights in memory. What is timed ends when the likeliest next token is known."""

    def prefill(self, ids: Sequence[int]) -> float:
        """Return the seconds a prompt takes."""
        ...

    def decode(self, count: int) -> float:
        """Return the seconds that `count` tokens, one after the other, take."""
        ...


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second, medians."""

    prefill: float
    decode: float


def speeds(decoders: Mapping[str, Decoder], ids: Sequence[int], new_tokens: int, *, rounds: int) -> dict[str, Speed]:
    """Return each engine's speeds over a prompt and `new_tokens`, taken in turn; the first calls do not count."""
    for decoder in decoders.values():
        decoder.prefill(ids)
        decoder.decode(2)
    prefills: dict[str, list[float]] = {label: [] for label in decoders}
    decodes: dict[str, list[float]] = {label: [] for label in decoders}
    for _ in range(rounds):
        for label, decoder in decoders.items():
            prefills[label].append(decoder.prefill(ids))
            decodes[label].append(decoder.decode(new_tokens))
    return {
        label: Speed(len(ids) / statistics.median(prefills[label]), new_tokens / statistics.median(decodes[label]))
        for label in decoders
    }


class Runtime:
    """Ours."""

    def __init__(self, model_dir: Path, *, num_threads: int) -> None:
        card = read_card(model_dir)
        self.model = open_runtime(model_dir, card, num_threads=num_threads)
        self.size_bytes = (model_dir / "model.bin").stat().st_size
        self.matrix_parameters = card.parameters - card.vocab_size * card.hidden_size  # the embedding is looked up
        self._greedy = RuntimeSampler(limit=card.vocab_size)

    def prefill(self, ids: Sequence[int]) -> float:
        session = self.model.session(context_tokens=len(ids))
        started = time.perf_counter()
        self.model.advance([session], [np.array(ids, np.int32)])
        self._greedy.next(session)
        return time.perf_counter() - started

    def decode(self, count: int) -> float:
        session = self.model.session(context_tokens=len(START) + count)
        self.model.advance([session], [np.array(START, np.int32)])
        token, _ = self._greedy.next(session)
        started = time.perf_counter()
        for _ in range(count):
            self.model.advance([session], [np.array([token], np.int32)])
            token, _ = self._greedy.next(session)
        return time.perf_counter() - started


class LlamaCpp:
    """llama.cpp from the llama-cpp-python of any interpreter, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    def open(cls, python: str, gguf: Path, *, num_threads: int, context_tokens: int) -> Self | None:
        """Return it with `gguf` loaded; None, said in the log, where that interpreter does not have it."""
        command = [python, "-P", llama_worker.__file__, str(gguf), str(num_threads), str(context_tokens)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        except OSError as error:
            logger.warning("peer llama.cpp is left out: %s", error)
            return None
        made = cls(process)
        answer = made._answer()
        if "error" in answer:
            logger.warning("peer llama.cpp is left out: %s", answer["error"])
            made.close()
            return None
        return made

    def prefill(self, ids: Sequence[int]) -> float:
        return self._ask(prefill=list(ids))

    def decode(self, count: int) -> float:
        return self._ask(decode=count)

    def load(self) -> float:
        """Return the seconds it takes to load the model again and to read one token."""
        return self._ask(load=True)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **request: Any) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "seconds" not in answer:
            raise RuntimeError(f"llama.cpp stopped: {answer['error']}")
        return float(answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"it ended with {self._process.wait()}"}
        return answer


class CTranslate2:
    """CTranslate2 on a converted model of a family it knows."""

    def __init__(self, model_dir: Path, *, num_threads: int) -> None:
        import ctranslate2

        self._generator = ctranslate2.Generator(str(model_dir), device="cpu", intra_threads=num_threads)
        self._tokens = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))

    def prefill(self, ids: Sequence[int]) -> float:
        return self._generate(ids, 1)

    def decode(self, count: int) -> float:
        return self._generate(START, count + 1) - self._generate(START, 1)

    def _generate(self, ids: Sequence[int], count: int) -> float:
        prompt = [self._tokens[i] for i in ids]
        started = time.perf_counter()
        self._generator.generate_batch(
            [prompt], max_length=count, min_length=count, beam_size=1, include_prompt_in_result=False
        )
        return time.perf_counter() - started


class Transformers:
    """transformers on a Hugging Face folder, in bfloat16."""

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch = torch
        self._model = model

    @classmethod
    def open(cls, folder: Path, *, num_threads: int) -> Self | None:
        """Return it with the folder's weights; None, said in the log, where torch or transformers is missing."""
        torch, transformers = peer("torch"), peer("transformers")
        if torch is None or transformers is None:
            return None
        torch.set_num_threads(num_threads)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        return cls(torch, model.eval())

    def prefill(self, ids: Sequence[int]) -> float:
        started = time.perf_counter()
        self._advance(ids, None)
        return time.perf_counter() - started

    def decode(self, count: int) -> float:
        token, past = self._advance(START, None)
        started = time.perf_counter()
        for _ in range(count):
            token, past = self._advance([token], past)
        return time.perf_counter() - started

    def _advance(self, ids: Sequence[int], past: Any) -> tuple[int, Any]:
        with self._torch.inference_mode():
            tokens = self._torch.tensor([list(ids)])
            said = self._model(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
        return int(said.logits[0, -1].argmax()), said.past_key_values
