"""Documents in, questions and answers out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruvllm.orchestrator import Deadline
from ruvllm.pipeline import AnswerStream
from ruvllm.system.parts import Parts, never
from ruvllm.types import (
    Constraints,
    Filter,
    GenerationOptions,
    Hits,
    IngestReport,
    Request,
    Response,
)

if TYPE_CHECKING:
    from ruvllm.memory import IngestProgress

__all__ = ["Asks"]

ASYNC_THREADS = 4


class Asks(Parts):
    """What a system reads, and what it is asked."""

    def ingest(
        self,
        sources: str | Path | Iterable[str | Path | Mapping[str, Any]],
        *,
        on_progress: Callable[[IngestProgress], None] | None = None,
    ) -> IngestReport:
        """Read documents into memory and return what happened; durable on return, and free for unchanged documents.

        `sources` is a file, a folder (read with all below it, links out of it aside), or an iterable of paths and
        texts; a text may be a mapping with text, title, source and metadata, a dialogue one with turns in the place of
        text. Documents that cannot be read are listed in the report.
        """
        with self.worker.request():
            report = self.memory.ingest(sources, on_progress=on_progress)
        self._metrics.ingested(report)
        return report

    def ask(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> Response:
        """Answer from memory, with sources.

        Args:
            query: the question.
            session: a name; earlier turns under the same name are part of the conversation.
            k: sources shown to the model at most; the configured number when None.
            filter: only sources whose fields have these values, such as {"source": "guide.md"} or {"tags": ["a", "b"]}.
            options: sampling; the configured ones when None.
            constraints: latency, cost, privacy and quality of this answer; which model answers depends on them.
            timeout_s: seconds from now until when the answer must be there. What was written until then is the answer
                (`finish_reason` "deadline"); it is not remembered.
            key: who asks, for the limits of the section [limits].

        Raises:
            TypeError, ValueError: the question is empty, too long for the model, or not valid text, or another
                argument is wrong; the message names it.
            RateLimited: `key` has used its share; `.retry_after_s` says when to come again.
            DeadlineExceeded: the time was over before there was a word of the answer.
            EndpointError: the remote model is down, slow or answers garbage.
            ModelTooLarge: the model does not fit models.budget_bytes.
            RuntimeError: this thread has an unfinished stream of the same session, or of a model that leaves no room.
            TimeoutError: an earlier request of the same session, or of models that leave no room for this one, did
                not end within generation.timeout_s.
        """
        return self.stream(
            query,
            session=session,
            k=k,
            filter=filter,
            options=options,
            constraints=constraints,
            timeout_s=timeout_s,
            key=key,
        ).response

    def stream(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> AnswerStream:
        """Return the answer as a stream of text; `.response` is the finished response. Arguments as in `ask`."""
        request = Request(query, session, k, filter, options, constraints, timeout_s, key)
        return self._stream(request, cancelled=never)

    async def aask(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> Response:
        """`ask` on a worker thread. Cancelling the task stops the model between two tokens."""
        self.memory.require_open()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(ASYNC_THREADS, thread_name_prefix="ruvllm-ask")
        cancelled = threading.Event()
        request = Request(query, session, k, filter, options, constraints, timeout_s, key)
        deadline = Deadline(request.timeout_s, start=request.asked)
        stream = self._stream(request, cancelled=cancelled.is_set)
        work = self._executor.submit(lambda: stream.response)
        answer = asyncio.wrap_future(work)
        try:
            await asyncio.wait((answer,), timeout=deadline.left_s(threading.TIMEOUT_MAX))
            if work.cancel():  # no thread was free in time
                return await asyncio.to_thread(lambda: stream.response)
            return await answer
        except asyncio.CancelledError:
            cancelled.set()
            answer.cancel()
            raise

    def _stream(self, request: Request, *, cancelled: Callable[[], bool]) -> AnswerStream:
        closed = threading.Event()
        steps = self._answers(request, lambda: closed.is_set() or cancelled())
        return AnswerStream(self._telemetry.follow(request.id, steps), stop=closed.set)

    def _answers(self, request: Request, cancelled: Callable[[], bool]) -> Any:
        self.memory.require_open()
        with self.worker.request():
            return (yield from self._pipeline.run(request, cancelled))

    def retrieve(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Filter | None = None,
        session: str | None = None,
        hops: int | None = None,
        explain: bool = False,
        as_of: float | str | None = None,
    ) -> Hits:
        """Return the `k` best pieces of memory for `query`, best first, without asking a model; see `Memory.search`."""
        with self.worker.request():
            return self.memory.search(query, k, filter=filter, session=session, hops=hops, explain=explain, as_of=as_of)

    def forget(self, source: str | Path, *, cascade: bool = True) -> int:
        """Delete a source and all that came from its text; return how many nodes went. It cannot be undone.

        Args:
            source: its name, or a folder of sources.
            cascade: False deletes the source alone, see `Memory.forget`.

        Raises:
            TypeError, ValueError: nothing is known by this name.
        """
        gone = self.memory.forget(source, cascade=cascade)
        if self._pipeline.cache is not None:
            self._pipeline.cache.clear()
        if self._router is not None:
            self._router.forget()
        return gone
