"""Answers given before: what they depend on, when they may be given again, and how."""

from __future__ import annotations

from dataclasses import replace

from ruvllm.config import Config
from ruvllm.judging import Judges
from ruvllm.memory import Memory
from ruvllm.orchestrator import ResponseCache
from ruvllm.orchestrator.response_cache import Entry, key_of, same_every_time
from ruvllm.pipeline.answer import options_of
from ruvllm.pipeline.asking import Asking, Reader
from ruvllm.pipeline.readers import is_kept_private
from ruvllm.routing import Routes
from ruvllm.tuning.rollout.trials import Trials
from ruvllm.types import Response

__all__ = ["given_again", "keep", "known"]


def known(
    cache: ResponseCache,
    memory: Memory,
    config: Config,
    router: Routes | None,
    judge: Judges | None,
    trials: Trials | None,
    asking: Asking,
) -> Entry | None:
    """Return the answer to this very question; where it may be kept later, its key is set."""
    request = asking.request
    options = request.options or options_of(config.generation, None)
    if not same_every_time(options):
        return None
    turns = [(turn.query, turn.answer) for turn in asking.turns]
    depends_on = (
        memory.namespace,
        (request.session, turns) if turns else None,  # what is on probation is its session's own
        asking.k,
        request.filter,
        options,
        request.constraints,
        0 if router is None else router.checkpoint,
        0 if judge is None else judge.version,
        None if trials is None else trials.models_for(request),
        memory.document_version,
        memory.attention_version,
        memory.rejections if memory.read_only else 0,  # who writes is told which question it was
    )
    asking.drops = cache.drops
    asking.key = key_of(asking.query, depends_on)
    return None if asking.key is None else cache.get(asking.key)


def keep(cache: ResponseCache, asking: Asking, reader: Reader, response: Response) -> None:
    """Keep a whole answer that was made by all parts, and would be the same the next time."""
    explored = reader.decision is not None and reader.decision.explored
    is_sampled = response.route.temperature > 0.0 and asking.request.options is None  # as the router decided
    if asking.key is None or asking.vector is None or asking.is_degraded or explored or is_sampled:
        return
    own = tuple(warning for warning in response.warnings if not warning.startswith("record: "))  # not of this request
    is_private = is_kept_private(reader, asking)
    cache.put(asking.key, replace(response, warnings=own), asking.vector, drops=asking.drops, is_private=is_private)


def given_again(entry: Entry, asking: Asking, memory: Memory) -> Response:
    """Return a known answer as the answer to this request, which took no tokens."""
    if asking.vector is None:  # where another wording was found, it has its own
        asking.vector = entry.query_vector
    if entry.answer_vector is None:  # its record may have been written since
        entry.answer_vector = memory.answer_vector(entry.response.id)
    return replace(
        entry.response,
        id=asking.request.id,
        query=asking.query,
        session=asking.request.session,
        prompt_tokens=0,
        completion_tokens=0,
        timings_ms=asking.watch.ms,
        cached=True,
    )
