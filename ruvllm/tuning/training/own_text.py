"""A brain's own documents as general text: one half holds a student to its base, the other shows what it forgot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ruvllm.inference.perplexity import token_windows
from ruvllm.memory.store import Store
from ruvllm.memory.tuning_run import GENERAL, TEXT
from ruvllm.tuning.validation import WINDOW_TOKENS, WINDOWS

__all__ = ["OwnText", "write_own_text"]

HALF_CHARS = 120_000  # of either half: room for the windows that are measured, at three characters a token and more
PARAGRAPH_CHARS = 600  # short documents share a line

_DOCUMENTS = (
    "SELECT id, source, length(text) FROM nodes WHERE namespace IN (SELECT value FROM json_each(?)) "
    "AND type = 'Document' AND ended IS NULL AND trust > 0.0"
)


@dataclass(frozen=True, slots=True)
class OwnText:
    """Two files of different documents, and the nodes whose words are in them."""

    general: Path
    text: Path
    nodes: tuple[int, ...]


def write_own_text(brain: Path, folder: Path, namespaces: Sequence[str], model_dir: Path) -> OwnText | None:
    """Write both files into the folder of a run; None where the brain's documents are too few to measure anything.

    Documents come in an order by the hash of their sources, so that it is the same for the same brain, and in two
    halves, so that what is measured is not what the student was held to.

    Args:
        model_dir: the model whose tokens are counted.
    """
    with closing(Store(brain / "brain.db", read_only=True)) as store:
        rows = store.rows(_DOCUMENTS, (json.dumps(list(namespaces)),))
        chosen = _first(sorted(rows, key=lambda row: (hashlib.sha256((row[1] or "").encode()).digest(), row[0])))
        if chosen is None:
            return None
        found = dict(
            store.rows("SELECT id, text FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(chosen),))
        )
    texts = [found[node] for node in chosen if node in found]
    middle = _middle(texts)
    own = OwnText(folder / GENERAL, folder / TEXT, tuple(chosen))
    for path, part in ((own.general, texts[middle:]), (own.text, texts[:middle])):
        path.write_text("".join(f"{line}\n" for line in _paragraphs(part)), encoding="utf-8")
    try:
        token_windows(own.text, model_dir, windows=WINDOWS, window=WINDOW_TOKENS)
    except ValueError:  # words of very many letters
        own.general.unlink()
        own.text.unlink()
        return None
    return own


def _first(rows: Iterable[tuple[int, str | None, int]]) -> list[int] | None:
    """Return the first nodes that fill both halves, None where all do not."""
    chosen, chars = [], 0
    for node, _, length in rows:
        chosen.append(node)
        chars += length
        if chars >= 2 * HALF_CHARS:
            return chosen
    return None


def _middle(texts: Sequence[str]) -> int:
    """Return how many texts fill the first half."""
    chars = 0
    for number, text in enumerate(texts):
        if chars >= HALF_CHARS:
            return number
        chars += len(text)
    return len(texts)


def _paragraphs(texts: Iterable[str]) -> list[str]:
    """Return the texts in lines, short ones together."""
    lines: list[str] = []
    line = ""
    for text in texts:
        line = f"{line} {' '.join(text.split())}".strip()
        if len(line) >= PARAGRAPH_CHARS:
            lines.append(line)
            line = ""
    return [*lines, line] if line else lines
