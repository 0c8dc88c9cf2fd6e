"""A saved copy of a namespace's links, and how to tell that the database still says the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ruvllm.kernels import Graph
from ruvllm.memory.nearest import SEARCHED_IDS, index_base
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType
from ruvllm.whole_file import replacing

__all__ = ["LinksUnusable", "links_path", "read_links", "state_of_links", "write_links"]

EDGES = (  # whatever inserts, deletes or changes an edge changes one of these
    "SELECT count(*), count(ended), total(weight), total(last_used), max(last_used), max(created), max(decayed), "
    "total(success), total(failure) FROM edges"
)


class LinksUnusable(Exception):
    """The saved links cannot be used and are to be read from the database; the message says why."""


def links_path(brain: Path, namespace: str) -> Path:
    """Return the file a namespace's links are saved in."""
    base = index_base(brain, namespace)
    return base.with_name(base.name + ".links")


def state_of_links(store: Store, namespace: str, half_life_s: np.ndarray) -> bytes:
    """Return one line that is another one after any change of edges, half-lives or of which nodes are searched."""
    ids = np.array([row[0] for row in store.rows(SEARCHED_IDS, (namespace,))], np.int64)
    ids.sort()
    parts = [",".join(EdgeType), half_life_s.tolist(), store.rows(EDGES)[0], hashlib.sha256(ids.tobytes()).hexdigest()]
    return f"ruvllm links {parts!r}".encode()


def read_links(file: Path, state: bytes, half_life_s: np.ndarray) -> Graph:
    """Return the saved links.

    Raises:
        LinksUnusable: there are none, they are damaged, or of another state of the database.
    """
    try:
        head, _, content = file.read_bytes().partition(b"\n")
        if head != state:
            raise LinksUnusable("nodes or edges have changed since, or they are of another database or version")
        return Graph.restore(content, half_life_s=half_life_s)
    except FileNotFoundError as error:
        raise LinksUnusable("there are none") from error
    except (OSError, ValueError) as error:
        raise LinksUnusable(str(error)) from error


def write_links(file: Path, state: bytes, graph: Graph) -> None:
    """Save links with the state of the database that they are of."""
    with replacing(file) as stream:
        stream.write(state + b"\n")
        stream.write(graph.snapshot())
