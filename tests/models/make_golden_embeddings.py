"""Write the golden embeddings: usage: make_golden_embeddings.py HF_FOLDER (needs sentence-transformers; run once)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

TEXTS = [
    "What is an HNSW index?",
    "A lighthouse was built on the rock in 1873; its lamp burned oil until 1921.",
    "naïve café, 中文 and Ελληνικά 😀",
    "def reverse(text: str) -> str:\n    return text[::-1]",
    "The store is the truth: nodes, vectors, edges and sessions lie in one file, and an index is derived. " * 4,
    "DON'T   SHOUT!!!",
]


def main(folder: str) -> None:
    model = SentenceTransformer(folder, device="cpu")
    cases = []
    for text, vector in zip(TEXTS, model.encode(TEXTS, normalize_embeddings=True), strict=True):
        ids = model.tokenizer(text)["input_ids"]
        cases.append({"text": text, "ids": ids, "vector": [round(float(v), 6) for v in vector]})
    Path(__file__).with_name("data").joinpath("minilm-l6.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
