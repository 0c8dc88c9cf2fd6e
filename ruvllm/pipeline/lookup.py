"""What memory has on a question; where a part of it fails, what the others have, and a warning."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from ruvllm.errors import ModelMissing, PullError
from ruvllm.memory import Memory
from ruvllm.pipeline.asking import Asking, reason
from ruvllm.text import containment
from ruvllm.types import Hits

__all__ = ["embed", "nearness", "retrieve"]

logger = logging.getLogger(__name__)


def embed(memory: Memory, asking: Asking) -> None:
    """Embed the question, once; without its vector, words have to do.

    Raises:
        ValueError: the brain's vectors are by another embedder.
        ModelMissing, PullError: there is no embedder.
    """
    if asking.vector is not None:
        return
    with asking.stage("embed"):
        try:
            asking.vector = memory.encode([asking.query])[0]
        except (ValueError, ModelMissing, PullError):  # there is no embedder at all: somebody has to bring it
            raise
        except Exception as error:
            logger.info("a question is not embedded", exc_info=True)
            asking.degrade("embed", f"searched by words alone: {reason(error)}")


def retrieve(memory: Memory, asking: Asking) -> None:
    """Find sources: by all that memory has, else without the graph, else by words alone."""
    with asking.stage("retrieve"):
        asking.hits = _found(memory, asking)
        if memory.lacks_index:
            asking.note("retrieve", "there is no index yet, every vector was looked at")


def _found(memory: Memory, asking: Asking) -> Hits:
    query, filter, k = asking.query, asking.request.filter, 2 * asking.k
    if asking.vector is not None:
        try:
            return memory.search(query, k, filter=filter, session=asking.request.session, query_vector=asking.vector)
        except Exception as error:  # what the caller got wrong is wrong below, too
            logger.info("a search failed", exc_info=True)
            _degrade(asking, "ranked without the graph", error)
        try:
            return memory.search_plainly(query, k, filter=filter, query_vector=asking.vector)
        except Exception as error:
            _degrade(asking, "searched by words alone", error)
    return memory.search_plainly(query, k, filter=filter)


def _degrade(asking: Asking, what: str, error: Exception) -> None:
    asking.degrade("retrieve", f"{what}: {reason(error)}")


def nearness(memory: Memory, asking: Asking, texts: Sequence[str]) -> np.ndarray:
    """Return (n,) how near `texts` lie to the question: by their vectors, else by the words they have of it."""
    if asking.vector is not None:
        try:
            return np.asarray(memory.encode(texts) @ asking.vector)
        except Exception as error:
            logger.info("sentences are not embedded", exc_info=True)
            asking.degrade("prompt", f"sentences chosen by words alone: {reason(error)}")
    return np.array([containment(asking.query, text) for text in texts], np.float32)
