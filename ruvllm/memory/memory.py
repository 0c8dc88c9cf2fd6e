"""Memory: one directory that takes in documents, answers searches and remembers what was asked."""

from __future__ import annotations

from ruvllm.memory.face.care import Care
from ruvllm.memory.face.documents import Documents
from ruvllm.memory.face.enrichment import Enrichment
from ruvllm.memory.face.graph import GraphOfNodes
from ruvllm.memory.face.learning import Learning
from ruvllm.memory.face.routing import Routing
from ruvllm.memory.face.search import Searches
from ruvllm.memory.face.why import Explained

__all__ = ["Memory"]


class Memory(Documents, Searches, GraphOfNodes, Enrichment, Explained, Routing, Learning, Care):
    """A brain's memory. Safe from several threads; one process writes, others read.

    Args:
        path: the brain's directory, made when missing.
        embedder: text to vectors; the configured one, opened when a text first has to be embedded, when None.
        config: the whole configuration; `path`/ruvllm.toml, environment and defaults when None.
        namespace: which part of the brain is seen and written; no text crosses from one to another, while what is
            learnt (`checkpoints`) is the whole brain's.
        read_only: do not write, whoever else does.

    Raises:
        BrainTooNew, BrainDamaged: the directory holds a database that cannot be used; it is left as it is.
        BrainReadOnly: the directory does not exist and cannot be made.
        ValueError: the brain's vectors are by another embedder.

    When another process (or another Memory of this one) writes to the brain, or the directory cannot be written, it
    opens with `read_only` True: what would write raises BrainLocked or BrainReadOnly, everything else works.
    """
