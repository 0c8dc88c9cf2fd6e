"""The documents of a memory: read in, trusted, forgotten, exported and imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import apsw

from ruvllm.errors import BrainError
from ruvllm.memory.arguments import checked_call, checked_each, checked_file
from ruvllm.memory.concepts import hide_stale
from ruvllm.memory.export import export_brain
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.gather import Sources
from ruvllm.memory.import_brain import import_brain
from ruvllm.memory.importers import ImportFormat, read_documents
from ruvllm.memory.ingest import Ingester, IngestProgress
from ruvllm.memory.neighbours import Neighbours
from ruvllm.memory.rows import checked_text, checked_weight
from ruvllm.memory.sources import Forgotten, SourceSummary, forget_source, read_sources, trust_source
from ruvllm.memory.tuning_run import drop_outdated_run
from ruvllm.memory.who_says import WhoSays
from ruvllm.types import IngestReport

__all__ = ["Documents"]

LONGEST_ANSWER_S = 3600.0  # that nodes are kept in mind after they were forgotten


class Documents(OpenedBrain):
    """What a memory does with documents."""

    def ingest(self, sources: Sources, *, on_progress: Callable[[IngestProgress], None] | None = None) -> IngestReport:
        """Read documents into memory; durable on return, idempotent, and free for unchanged documents.

        Args:
            sources: a file or a folder (read with all below it, links out of it aside); or an iterable of paths and
                texts, in which a str that names nothing on disk is a text, and a mapping is a text with title, source
                and metadata, or a dialogue with turns, mappings of text, speaker, date and metadata.
            on_progress: called after every document.

        Raises:
            BrainLocked, BrainReadOnly: writing is refused here.
            BrainError: the disk is full; whole documents are in until then.

        A changed document replaces its chunks; the old ones are history. What cannot be read is listed in the report
        and the rest is stored.
        """
        self.require_writable()
        if isinstance(sources, str):
            checked_text(sources, "sources")  # "" would be the current folder, which nobody means by it
        if on_progress is not None:
            checked_call(on_progress, "on_progress")
        neighbours = Neighbours(self._nearest, self._space.project, self.config.linking)
        who_says = WhoSays(self._store, self._keywords, self.namespace)
        report = Ingester(
            self._store,
            self._derived,
            self._linker,
            neighbours,
            who_says,
            self._embedder,
            self.namespace,
            self.config.ingest,
        ).ingest(sources, on_progress)
        if report.added or report.updated:
            self._nearest.prepare()
        return report

    def add(self, texts: Iterable[str | Mapping[str, Any]]) -> IngestReport:
        """Store texts, each a document: a str, or a mapping with text and perhaps title, source and metadata.

        A text under a source that is known replaces the one before it.
        """
        each = checked_each(texts, "texts", "texts")
        return self.ingest({"text": text} if isinstance(text, str) else text for text in each)

    def forget(self, source: str | Path, *, cascade: bool = True) -> int:
        """Delete a source, or all below a folder, and all that was derived from it; return how many nodes went.

        Args:
            source: its name, or a folder of sources.
            cascade: the answers that saw any of it and whatever else has a Derived edge to what goes, go too, with what
                was learned from those answers. Without it they stay and only their edges to the source go; of concepts
                those go that contain nothing else.

        Raises:
            ValueError: nothing is known by this name.
        """
        self.require_writable()
        name = _checked_source(source)
        self._writeback.flush()
        learning, now = self.config.learning, time.time()

        def work(connection: apsw.Connection) -> Forgotten:
            gone = forget_source(
                connection, self.namespace, name, self._rated, cascade=cascade, config=learning, now=now
            )
            if cascade:
                self._keep_from_answers(gone.nodes)
            return gone

        def after(gone: Forgotten) -> None:
            self._derived.removed(gone.nodes)
            self._links.reweighted(gone.edges)
            self._derived.retrusted(gone.hidden)
            for change in gone.answers:
                self._follow(change)

        gone = self._store.write(work, after=after)
        self._archive.tidy()
        self._cold.reload()
        drop_outdated_run(self._store, self.path)
        return len(gone.nodes)

    def _keep_from_answers(self, nodes: Iterable[int]) -> None:
        """Let no answer be stored that is given meanwhile and was shown one of these nodes."""
        now = time.monotonic()
        for node in [node for node, at in self._forgotten.items() if now - at > LONGEST_ANSWER_S]:
            del self._forgotten[node]
        self._forgotten.update(dict.fromkeys(nodes, now))

    def set_trust(self, source: str | Path, trust: float) -> int:
        """Say how far a source, or all below a folder, is trusted; return how many nodes that is. Durable on return.

        Trust multiplies the rank of a node; at 0 it is not found. A document keeps it when it is ingested again.

        Raises:
            ValueError: nothing is known by this name, or the trust is not in [0, 1].
        """
        self.require_writable()
        name, trust = _checked_source(source), checked_weight(trust, "trust")

        def work(connection: apsw.Connection) -> tuple[list[int], list[int]]:
            ids = trust_source(connection, self.namespace, name, trust)
            return ids, hide_stale(connection, ids)

        def after(changed: tuple[list[int], list[int]]) -> None:
            self._derived.retrusted([*changed[0], *changed[1]])

        trusted, _ = self._store.write(work, after=after)
        drop_outdated_run(self._store, self.path)
        return len(trusted)

    def sources(self) -> list[SourceSummary]:
        """Return the ingested documents, in order of their names."""
        return read_sources(self._store, self.namespace)

    def export(self, file: str | Path) -> int:
        """Write all namespaces to `file` as JSON Lines (gzip when it ends in .gz); return the lines written.

        Imported into an empty brain and exported again it is the same bytes.

        Raises:
            TypeError, ValueError, OSError: `file` is no path, lies among the brain's own files, or cannot be written.
            BrainError: a node is archived and the cold file is missing.
        """
        path = checked_file(file, "file")
        self._writeback.flush()
        return export_brain(self._store, path, self._archive)

    def import_file(
        self,
        file: str | Path,
        *,
        format: ImportFormat | None = None,
        on_progress: Callable[[IngestProgress], None] | None = None,
    ) -> int:
        """Add what `export` wrote, ids renumbered, or texts from elsewhere; return the lines or entries read.

        Texts come as a JSON list or JSON Lines of texts, of mappings as `add` takes them, of mem0-style memories or of
        LangChain documents. They are ingested as `add` does it: what is here already stays as it is.

        Args:
            file: compressed when its name ends in .gz.
            format: "brain", "texts", "mem0" or "langchain"; the file's first entry says so when None.
            on_progress: called after every text.

        Raises:
            TypeError, ValueError: a line or an entry, which is named, is damaged, or the vectors are by another
                embedder; nothing is imported.
            OSError: the file cannot be read.
            BrainError: the embedder has no sound vector for a text; the others are stored.
        """
        self.require_writable()
        path = checked_file(file, "file")
        documents = read_documents(path, format)
        if documents is not None:
            failures = self.ingest(documents, on_progress=on_progress).failures
            if failures:
                first = f"{failures[0].source}: {failures[0].reason}"
                raise BrainError(f"{len(failures)} of {len(documents)} texts are not stored; {first}", path=self.path)
            return len(documents)
        self._writeback.flush()
        embedder = self._given  # None while the configured one is not open
        lines = import_brain(self._store, path, embedder=None if embedder is None else embedder.id)
        self._derived.reload()
        self._recent.forget()
        self._rated.forget()
        self._cold.reload()
        drop_outdated_run(self._store, self.path)
        return lines


def _checked_source(source: str | Path) -> str:
    """Return the name of a source; an empty one would be that of the current folder, which nobody means by it."""
    if not isinstance(source, str | Path):
        raise TypeError(f"source must be a str or a Path, not {type(source).__name__}")
    return checked_text(str(source), "source")
