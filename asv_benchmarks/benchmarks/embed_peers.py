"""The same MiniLM by the runtime, CTranslate2, onnxruntime, torch and sentence-transformers, from the same token ids.

A peer that is not installed is skipped. sentence-transformers tokenises for itself.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from ruvllm import models
from ruvllm.bench import embed, encoders
from ruvllm.bench.encoders import Encode
from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelMissing
from ruvllm.inference.local_model import load_tokenizer
from ruvllm.models import read_card

THREADS = 2
ENGINES = ["runtime int8", "CTranslate2 int8", "onnxruntime int8", "torch bf16", "sentence-transformers float32"]


def encoder_of(engine: str, model_dir: Path, tokenizer: Tokenizer) -> Encode | None:
    """Return token ids -> mean hidden states; None where it is not installed."""
    if engine.startswith("runtime"):
        return encoders.runtime(model_dir, THREADS)
    if engine.startswith("CTranslate2"):
        return encoders.ctranslate2(model_dir, 1, num_workers=THREADS)
    if engine.startswith("onnxruntime"):
        return encoders.onnxruntime(THREADS)
    if engine.startswith("torch"):
        return encoders.torch_bf16(THREADS)
    return encoders.sentence_transformers(THREADS, lambda ids: [tokenizer.decode(list(one)) for one in ids])


class EmbedPeers:
    """One query of 16 tokens, and 64 texts around 128 tokens."""

    param_names = ("engine",)
    params = (ENGINES,)
    timeout = 300

    def setup(self, engine: str) -> None:
        try:
            model_dir = models.find("minilm-l6", ModelsConfig(offline=True))
        except ModelMissing as error:
            raise NotImplementedError from error  # asv's way to skip
        tokenizer = load_tokenizer(model_dir, read_card(model_dir))
        self.query = embed.token_ids(tokenizer, 1, embed.QUERY_TOKENS)
        self.batch = embed.token_ids(tokenizer, embed.BATCH_TEXTS, embed.BATCH_TOKENS)
        encode = encoder_of(engine, model_dir, tokenizer)
        if encode is None:
            raise NotImplementedError
        self.encode = encode
        self.encode(self.query)

    def time_query(self, engine: str) -> None:
        self.encode(self.query)

    def time_batch_of_64(self, engine: str) -> None:
        self.encode(self.batch)

    time_batch_of_64.number = 1  # type: ignore[attr-defined]
