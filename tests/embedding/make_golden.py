"""Writes data/minilm_golden.json: float32 reference vectors by sentence-transformers, rounded to float16.

usage: python tests/embedding/make_golden.py FOLDER    (all-MiniLM-L6-v2 as a sentence-transformers folder)
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np

TEXTS = [
    "What is an HNSW index?",
    "a",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "A cat sits on the mat and looks out of the window.",
    "A kitten is sitting on a rug, gazing outside.",
    "The central bank raised interest rates by half a point on Tuesday.",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 3;",
    "x² + y² = z² has integer solutions such as (3, 4, 5).",
    "Die Würde des Menschen ist unantastbar.",
    "東京は日本の首都です。",
    "Москва — столица России.",
    "naïve café façade coöperate",
    "🎉 We shipped it! 🚀",
    "    leading and trailing spaces    ",
    "ALL CAPITALS AND NUMB3RS 1234567890",
    "https://example.org/path?query=1#fragment",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. " * 6,
    " ".join(f"Sentence number {i} about memory, graphs and routers." for i in range(60)),  # beyond 256 tokens
]


def main(folder: str) -> None:
    """Encode the texts in float32 and write them with their vectors."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = 256
    vectors = model.encode(TEXTS, normalize_embeddings=True).astype(np.float16)
    golden = {"dim": vectors.shape[1], "texts": TEXTS, "float16": base64.b64encode(vectors.tobytes()).decode()}
    target = Path(__file__).parent / "data" / "minilm_golden.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
