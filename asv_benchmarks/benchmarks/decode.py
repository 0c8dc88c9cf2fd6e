"""Reading a prompt and going on from it: SmolLM2 by the runtime and CTranslate2, and a small random LFM2."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ruvllm import models
from ruvllm.bench.decoders import CTranslate2, Decoder, Runtime
from ruvllm.bench.guesses import questions, seconds_behind_first
from ruvllm.bench.prepared import lfm2_model
from ruvllm.bench.random_model import LFM2_350M, Size
from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelMissing
from ruvllm.inference.runtime_engine import RuntimeEngine

PROMPT = [(7919 * i + 13) % 40_000 + 100 for i in range(512)]
NEW_TOKENS = 32
SMALL = Size(LFM2_350M.layer_types[:4], hidden=256, ffn=1024, heads=4, kv_heads=2, head_dim=64, vocab=4096)


class DecodeSmolLM2:
    """Seconds for 512 tokens of prompt and for 32 new ones."""

    param_names = ("engine", "num_threads")
    params = (["runtime int8", "runtime int4", "CTranslate2 int8"], [1, 2])
    number = 1
    timeout = 300

    def setup(self, engine: str, num_threads: int) -> None:
        name = "smollm2-135m@int4" if engine.endswith("int4") else "smollm2-135m"
        try:
            model_dir = models.find(name, ModelsConfig(offline=True))
        except ModelMissing as error:
            raise NotImplementedError from error  # asv's way to skip
        kind = Runtime if engine.startswith("runtime") else CTranslate2
        self.decoder: Decoder = kind(model_dir, num_threads=num_threads)
        self.decoder.prefill(PROMPT)

    def time_prefill(self, engine: str, num_threads: int) -> None:
        self.decoder.prefill(PROMPT)

    def time_decode(self, engine: str, num_threads: int) -> None:
        self.decoder.decode(NEW_TOKENS)


class GuessedTokens:
    """An answer of at most 64 tokens made of a source, with guesses and without."""

    param_names = ("draft_tokens",)
    params = ([7, 0],)
    number = 1

    def setup(self, draft_tokens: int) -> None:
        try:
            model_dir = models.find("smollm2-135m", ModelsConfig(offline=True))
        except ModelMissing as error:
            raise NotImplementedError from error
        self.engine = RuntimeEngine(model_dir, num_threads=1, draft_tokens=draft_tokens)
        self.messages = questions()[0]
        seconds_behind_first(self.engine, self.messages)

    def time_answer(self, draft_tokens: int) -> None:
        seconds_behind_first(self.engine, self.messages)


class DecodeLfm2:
    """Four layers of a quarter of LFM2-350M's width, random weights."""

    param_names = ("quantization",)
    params = (["float32", "int8", "int4"],)
    number = 5

    def setup(self, quantization: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.decoder = Runtime(lfm2_model(self.folder, SMALL, quantization), num_threads=1)
        self.prompt = [token % SMALL.vocab for token in PROMPT[:128]]
        self.decoder.prefill(self.prompt)

    def teardown(self, quantization: str) -> None:
        shutil.rmtree(self.folder)

    def time_prefill(self, quantization: str) -> None:
        self.decoder.prefill(self.prompt)

    def time_decode(self, quantization: str) -> None:
        self.decoder.decode(NEW_TOKENS)
