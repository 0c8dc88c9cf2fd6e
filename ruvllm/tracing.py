"""Requests as OpenTelemetry spans (extra `otel`): one for the request, and below it one for each stage."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ruvllm.metrics import MARKS
from ruvllm.types import Response

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["RequestSpan", "open_tracer"]

MS = 1_000_000  # nanoseconds


def open_tracer() -> Tracer:
    """Return the tracer of whichever provider the program has set; without one, spans cost little and go nowhere."""
    from opentelemetry import trace

    return trace.get_tracer("ruvllm")


class RequestSpan:
    """The span of one request, begun now. In the context that runs here it is the current one from now on.

    No question, answer or error message is in it: errors are told by their class.
    """

    def __init__(self, tracer: Tracer, id: str) -> None:
        from opentelemetry import context, trace

        self._tracer = tracer
        self._start = time.time_ns()
        self._span = tracer.start_span(
            "ruvllm.request", start_time=self._start, attributes={"ruvllm.request.id": id}, record_exception=False
        )
        self._context = trace.set_span_in_context(self._span)
        context.attach(self._context)

    def answered(self, response: Response) -> None:
        """End with a response. What is known of stages is how long they took: they are laid end to end."""
        self._span.set_attributes(
            {
                "gen_ai.response.model": response.route.model,
                "gen_ai.response.finish_reasons": [response.finish_reason],
                "gen_ai.usage.input_tokens": response.prompt_tokens,
                "gen_ai.usage.output_tokens": response.completion_tokens,
                "ruvllm.route": response.route.tier or "none",
                "ruvllm.sources": len(response.sources),
                "ruvllm.warnings": len(response.warnings),
            }
        )
        at = self._start
        for stage, ms in response.timings_ms.items():
            if stage not in MARKS:
                span = self._tracer.start_span(f"ruvllm.{stage}", context=self._context, start_time=at)
                at += int(ms * MS)
                span.end(at)
        self._span.end()

    def cancelled(self) -> None:
        """End because the caller wanted no more."""
        self._span.set_attribute("gen_ai.response.finish_reasons", ["cancelled"])
        self._span.end()

    def failed(self, error: Exception) -> None:
        """End with an error."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(StatusCode.ERROR)
        self._span.end()
