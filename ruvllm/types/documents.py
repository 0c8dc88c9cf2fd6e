"""What an ingest did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DocumentFailure", "IngestReport"]


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """A document that could not be ingested, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did; every document is counted once."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failures: tuple[DocumentFailure, ...] = ()
    seconds: float = 0.0

    def _repr_html_(self) -> str:
        from ruvllm.viz import report_html

        return report_html(self)
