"""Enrichment: a local model reads passages with few links and names what they are about; shared names become links."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ruvllm.config import EnrichmentConfig
from ruvllm.errors import EngineError
from ruvllm.inference.engine import Engine
from ruvllm.inference.open import is_remote
from ruvllm.learning.naming import NAMING_VERSION, names_in
from ruvllm.learning.worker import MustStop
from ruvllm.memory import Memory

__all__ = ["EnrichmentReport", "enrich"]

logger = logging.getLogger(__name__)

MAX_FAILED = 3  # passages on which the model may fail one after another


@dataclass(frozen=True, slots=True)
class EnrichmentReport:
    """What a run read and linked.

    Attributes:
        model: that read.
        read: passages; no later run of the same model reads them again, unless another one did meanwhile.
        named: of these, passages in which it found names, `names` in all.
        links: that were made of them.
        failed: passages that the model could not read; later runs try them again, after those that are new.
        given_up: of these, passages that no later run of the same local model tries again: it failed on them too often.
        left: passages that are still to be read.
        finished: False when it was cancelled; what was read until then stays.
    """

    model: str
    read: int
    named: int
    names: int
    links: int
    failed: int
    given_up: int
    left: int
    seconds: float
    finished: bool


def enrich(
    memory: Memory,
    model: str,
    engine: Callable[[], AbstractContextManager[Engine]],
    config: EnrichmentConfig,
    *,
    cancelled: MustStop = lambda: False,
) -> EnrichmentReport:
    """Let a model read at most `config.passages_per_run` passages that it has not read; durable on return.

    Each passage is one transaction, so that a run that is stopped or killed goes on where it was. An endpoint is shown
    nothing private.

    Args:
        model: its name, which the links say.
        engine: lends it, asked when there is something to read.
        cancelled: asked between tokens; when True the run ends and the passage that is being read is dropped.

    Raises:
        ModelMissing and the like: the model cannot be had.
        ValueError: it cannot be kept to a schema; the message names what is missing.
        EngineError: it failed on more than MAX_FAILED passages one after another; the next run begins with others.
    """
    started = time.perf_counter()
    unread = memory.unread(model, NAMING_VERSION, config.max_links)
    hidden = memory.private_among(unread) if is_remote(model) else set()
    unread = [node for node in unread if node not in hidden]
    read = named = names = links = failed = in_row = given_up = 0

    def report(*, finished: bool) -> EnrichmentReport:
        left, seconds = len(unread) - read - given_up, time.perf_counter() - started
        return EnrichmentReport(model, read, named, names, links, failed, given_up, left, seconds, finished)

    if not unread:
        return report(finished=True)
    with engine() as reader:
        for node in unread[: config.passages_per_run]:
            text = memory.texts([node]).get(node, "")
            try:
                found = names_in(
                    reader,
                    text,
                    max_names=config.max_names,
                    max_new_tokens=config.max_new_tokens,
                    must_stop=cancelled,
                )
            except EngineError as error:
                failed, in_row = failed + 1, in_row + 1
                given_up += memory.put_failure(node, model, NAMING_VERSION)
                if in_row > MAX_FAILED:
                    raise
                logger.warning("node %d is not read: %s", node, error)
                continue
            if found is None:
                return report(finished=False)
            made = memory.put_names(node, found, model, NAMING_VERSION)
            read += 1
            in_row = 0 if found else in_row  # else it was perhaps not even asked
            if made is not None:  # else it went meanwhile
                named, names, links = named + bool(found), names + len(found), links + made
    return report(finished=True)
