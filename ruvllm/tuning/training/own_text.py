"""A brain's own documents as general text: one half holds a student to its base, the other shows what it forgot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from ruvllm.config import TuningConfig
from ruvllm.inference.local_model import load_tokenizer
from ruvllm.memory.store import Store
from ruvllm.memory.tuning_run import GENERAL, TEXT
from ruvllm.tuning.redaction import Redactor
from ruvllm.tuning.training.anchor import PIECE_TOKENS
from ruvllm.tuning.validation import WINDOW_TOKENS, WINDOWS

__all__ = ["write_own_text"]

HALF_CHARS = 120_000  # of either half: room for the windows that are measured, at three characters a token and more
PARAGRAPH_CHARS = 600  # short documents share a line

_DOCUMENTS = (
    "SELECT id, source, length(text) FROM nodes WHERE namespace IN (SELECT value FROM json_each(?)) "
    "AND type = 'Document' AND tier = 'hot' AND ended IS NULL AND trust > 0.0"
)


def write_own_text(brain: Path, folder: Path, config: TuningConfig, base: Path) -> tuple[int, ...]:
    """Write GENERAL and TEXT into the folder of a run, and return the nodes whose words are in them; neither file, and
    no node, where the brain's documents are too few to measure anything.

    Documents come in an order by the hash of their sources, so that it is the same for the same brain, and in two
    halves, so that what is measured is not what the student was held to. Redacted they are as all that is trained on.

    Args:
        base: the folder of the model whose tokens are counted.

    Raises:
        ModuleNotFoundError: they are to be redacted, and the extra `pii` is not installed.
    """
    redactor = Redactor() if config.redact else None
    with closing(Store(brain / "brain.db", read_only=True)) as store:
        rows = store.rows(_DOCUMENTS, (json.dumps(list(config.namespaces)),))
        chosen = _first(sorted(rows, key=lambda row: (hashlib.sha256((row[1] or "").encode()).digest(), row[0])))
        if chosen is None:
            return ()
        found = dict(
            store.rows("SELECT id, text FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(chosen),))
        )
    texts = [found[node] for node in chosen if node in found]
    if redactor is not None:
        texts = [redactor.redact(text)[0] for text in texts]
    middle = _middle(texts)
    measured, held = _paragraphs(texts[:middle]), _paragraphs(texts[middle:])
    tokens = _counter(base)
    if tokens("\n".join(measured)) < WINDOWS * WINDOW_TOKENS or not any(tokens(line) >= PIECE_TOKENS for line in held):
        return ()  # words of very many letters, or one document nearly as long as all
    for name, lines in ((GENERAL, held), (TEXT, measured)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tuple(chosen)


def _counter(base: Path) -> Callable[[str], int]:
    tokenizer = load_tokenizer(base)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


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
