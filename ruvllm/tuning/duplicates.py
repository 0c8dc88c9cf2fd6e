"""Texts that are nearly the same as one before them, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Sequence

from ruvllm.text import Signature, jaccard, minhash

__all__ = ["near_duplicates"]

BANDS = 32  # of the 128 hashes; two texts of Jaccard similarity J share a band with chance 1 - (1 - J^4)^32


def near_duplicates(texts: Sequence[str], similarity: float) -> list[int | None]:
    """Return for each text the place of the first one before it that it repeats, None for those that are new.

    Args:
        similarity: MinHash Jaccard similarity of three-word shingles from which a text repeats another, in (0, 1]. At
            0.8 one in 20 million repetitions is overlooked.

    Source: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.
    """
    if not 0.0 < similarity <= 1.0:
        raise ValueError(f"similarity must be in (0, 1] ({similarity})")
    seen: dict[bytes, list[int]] = {}
    signatures: list[Signature] = []
    repeats: list[int | None] = []
    for i, text in enumerate(texts):
        signature = minhash(text)
        bands = [bytes([b]) + band.tobytes() for b, band in enumerate(signature.reshape(BANDS, -1))]
        candidates = sorted({j for band in bands for j in seen.get(band, ())})
        first = next((j for j in candidates if jaccard(signature, signatures[j]) >= similarity), None)
        signatures.append(signature)
        repeats.append(first)
        if first is None:
            for band in bands:
                seen.setdefault(band, []).append(i)
    return repeats
