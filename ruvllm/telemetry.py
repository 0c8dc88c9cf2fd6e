"""The one place where a request is watched: its id in the logs, its end in the metrics, its stages in a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from concurrent.futures import CancelledError
from contextvars import Context, copy_context

from ruvllm.config import TelemetryConfig
from ruvllm.logs import request_id
from ruvllm.metrics import Metrics
from ruvllm.tracing import RequestSpan, open_tracer
from ruvllm.types import Response

__all__ = ["Telemetry"]

logger = logging.getLogger(__name__)

CANCELLED = (GeneratorExit, CancelledError, KeyboardInterrupt)  # the caller wants no more


class Telemetry:
    """Watches requests; safe to share between threads."""

    def __init__(self, metrics: Metrics, config: TelemetryConfig) -> None:
        self._metrics = metrics
        self._tracer = open_tracer() if config.traces else None

    def follow(self, id: str, steps: Generator[str, None, Response]) -> Generator[str, None, Response]:
        """Return the same steps, watched from the first one on.

        They run in a copy of the context of whoever calls this, in whichever thread takes them: between two steps the
        caller's own log records and spans are not of this request.
        """
        context = copy_context()
        context.run(request_id.set, id)
        return self._watched(id, steps, context)

    def _watched(
        self, id: str, steps: Generator[str, None, Response], context: Context
    ) -> Generator[str, None, Response]:
        started = time.perf_counter()
        span = None if self._tracer is None else context.run(RequestSpan, self._tracer, id)
        try:
            while True:
                try:
                    piece = context.run(next, steps)
                except StopIteration as stop:
                    response: Response = stop.value
                    break
                yield piece
        except CANCELLED:
            self._metrics.cancelled(time.perf_counter() - started)
            if span is not None:
                span.cancelled()
            context.run(steps.close)
            raise
        except Exception as error:
            self._metrics.failed(error, time.perf_counter() - started)
            if span is not None:
                span.failed(error)
            raise
        self._metrics.answered(response, time.perf_counter() - started)
        if span is not None:
            span.answered(response)
        route = response.route
        context.run(logger.debug, "answered by %s (%s)", route.model, response.finish_reason)
        return response
