"""Near-duplicate detection: MinHash signatures over shingles of three words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.text import _text

__all__ = ["Signature", "jaccard", "minhash"]

Signature = npt.NDArray[np.uint64]


def minhash(text: str, num_hashes: int = 128) -> Signature:
    """Return the (num_hashes,) uint64 signature of the set of three-word shingles of `text`.

    The same text gives the same signature on every machine. A text of one or two words is one shingle; one without
    words has the signature of the empty set, equal only to itself.

    Raises:
        ValueError: `num_hashes` is below 1.

    Source: Broder 1997, "On the resemblance and containment of documents".
    """
    if num_hashes < 1:
        raise ValueError(f"num_hashes must be >= 1 ({num_hashes})")
    signature = np.empty(num_hashes, dtype=np.uint64)
    _text.minhash(text, signature)
    return signature


def jaccard(signature_a: Signature, signature_b: Signature) -> float:
    """Return the Jaccard similarity J in [0, 1] of two shingle sets, estimated to sqrt(J (1 - J) / num_hashes).

    Raises:
        ValueError: the signatures are not uint64 vectors of one length.
    """
    for name, signature in (("signature_a", signature_a), ("signature_b", signature_b)):
        if signature.dtype != np.uint64 or signature.ndim != 1 or not signature.size:
            raise ValueError(f"{name} must be a uint64 vector ({signature.dtype}, shape {signature.shape})")
    if signature_a.size != signature_b.size:
        raise ValueError(f"signatures must have one length ({signature_a.size} and {signature_b.size})")
    return _text.count_equal(signature_a, signature_b) / signature_a.size
