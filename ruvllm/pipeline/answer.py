"""What is made of a draft: the response, the best passage where nobody answered or was sure, the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ruvllm.config import GenerationConfig
from ruvllm.context import Prompt, mark_used, says_the_example
from ruvllm.inference import confidence
from ruvllm.pipeline.asking import UNFINISHED, Asking, Draft, Reader
from ruvllm.routing import cost_of
from ruvllm.text import sentence_spans
from ruvllm.types import Decision, GenerationOptions, Interaction, Response, Route, Source, TierOutcome

__all__ = ["UNSURE", "finished", "interaction_of", "options_of", "outcome_of", "route_of"]

EXTRACT_SOURCES = 3  # sources whose sentences compete for the quoted passage
UNSURE = "I cannot answer this with confidence. The closest passage: "  # before what is quoted

Nearness = Callable[[Sequence[str]], np.ndarray]
"""How near (n,) texts lie to the question, higher is nearer."""


def options_of(section: GenerationConfig, decision: Decision | None) -> GenerationOptions:
    """Return how to sample where the caller left that open: as configured, or as the router decided."""
    temperature = None if decision is None else decision.temperature
    top_p = None if decision is None else decision.top_p
    return GenerationOptions(
        max_new_tokens=section.max_new_tokens,
        temperature=section.temperature if temperature is None else temperature,
        top_k=section.top_k,
        top_p=section.top_p if top_p is None else top_p,
        min_p=section.min_p,
        repetition_penalty=section.repetition_penalty,
    )


def route_of(reader: Reader, options: GenerationOptions, context_tokens: int, *, why_no_choice: str) -> Route:
    """Return what was decided; where there was no choice, why there was none."""
    engine, decision = reader.engine, reader.decision
    route = Route(
        model=engine.name if engine else "none",
        context_tokens=context_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        tier=reader.tier,
        student=reader.student,
    )
    if decision is None:
        return route if engine is None else replace(route, reason=why_no_choice)
    return replace(
        route,
        decided_by=decision.decided_by,
        confidence=decision.confidence,
        quality=decision.chosen.quality,
        checkpoint=decision.checkpoint,
        reason=decision.reason,
    )


def finished(
    asking: Asking, prompt: Prompt, route: Route, draft: Draft, *, min_confidence: float, nearness: Nearness
) -> Response:
    """Return the answer, or the best passage when no model answered or it was not sure of its own words.

    Warnings are not in it yet.
    """
    text = draft.text.strip()
    sure = confidence(draft.logprobs) if draft.logprobs else None
    response = Response(
        id=asking.request.id,
        query=asking.query,
        text=text,
        sources=mark_used(text, prompt.sources),
        route=route,
        confidence=sure,
        finish_reason=draft.finish_reason,
        session=asking.request.session,
        prompt_tokens=draft.prompt_tokens,
        completion_tokens=draft.completion_tokens,
        timings_ms=asking.watch.ms,
    )
    options = asking.request.options
    is_structured = options is not None and options.json_schema is not None
    doubt = ""
    if sure is not None and sure < min_confidence:
        doubt = f"the model was not sure of its answer (confidence {sure:.2f} < {min_confidence:.2f})"
    elif prompt.sources and says_the_example(text, asking.query, prompt.sources):
        doubt = "the model repeated the example of the prompt"
    if draft.finish_reason in UNFINISHED or (text and (is_structured or not doubt)):
        return response  # a passage is no value of the schema
    if text:
        asking.note("generate", doubt)
        response = replace(response, draft=text)
    return _extracted(response, nearness, "no source fits here" if prompt.passages else "memory holds nothing on this")


def _extracted(response: Response, nearness: Nearness, why_none: str) -> Response:
    """Quote the sentence of the best sources that lies nearest to the question; where there is none, say why."""
    candidates = [
        (source, " ".join(source.text[start:end].split()))
        for source in response.sources[:EXTRACT_SOURCES]
        for start, end in sentence_spans(source.text)
    ]
    if not candidates:
        text, used = f"I do not know, and {why_none}.", -1
    else:
        near = nearness([sentence for _, sentence in candidates])
        source, sentence = candidates[int(np.argmax(near))]
        text, used = f"{UNSURE}{_named(source)}{sentence}", source.number
    return replace(
        response,
        text=text,
        finish_reason="extract",
        sources=tuple(replace(s, used=s.number == used) for s in response.sources),
    )


def _named(source: Source) -> str:
    """Return what people call a source, before what it says; a text that was given without a name has none."""
    name = source.title or source.source
    return f"{name}: " if name and not name.startswith("text:") else ""


def interaction_of(
    response: Response,
    namespace: str,
    reader: Reader,
    draft: Draft,
    *,
    query_vector: np.ndarray | None,
    answer_vector: np.ndarray | None = None,
    failures: Sequence[str] = (),
    is_private: bool = False,
) -> Interaction:
    """Return an answered request as memory keeps it."""
    return Interaction(
        id=response.id,
        query=response.query,
        answer=response.text,
        namespace=namespace,
        session=response.session,
        created=time.time(),
        source_ids=tuple(s.node_id for s in response.sources),
        used_ids=tuple(s.node_id for s in response.sources if s.used),
        route=response.route,
        confidence=response.confidence,
        finish_reason=response.finish_reason,
        timings_ms=response.timings_ms,
        query_vector=query_vector,
        answer_vector=answer_vector,
        outcome=None if reader.engine is None else outcome_of(reader, draft),
        decision=reader.decision,
        quality=response.quality,
        quality_source=response.quality_source,
        judge_score=draft.judge_score,
        prompt=draft.messages,
        shown_texts=tuple(s.text for s in response.sources),
        failures=tuple(failures),
        is_private=is_private,
    )


def outcome_of(reader: Reader, draft: Draft) -> TierOutcome:
    """Return what a tier did, of which nobody has said yet how good it was."""
    tokens = draft.prompt_tokens + draft.completion_tokens
    cost = None if reader.engine is None else cost_of(reader.engine, tokens)
    return TierOutcome(reader.tier, latency_ms=draft.latency_ms, cost=cost, tokens=draft.completion_tokens)
