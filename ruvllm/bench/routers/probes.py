"""Probes of a table as the router takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvllm.bench.routers.table import Table

if TYPE_CHECKING:
    from ruvllm.router.features import ProbeView

__all__ = ["views"]


def views(table: Table) -> list[ProbeView] | None:
    """Return the smallest model's view of each question; None when the table has no probes."""
    if table.probes is None:
        return None
    from ruvllm.router.features import ProbeView

    return [
        ProbeView(top, margin, entropy, logprob, int(tokens))
        for top, margin, entropy, logprob, tokens in table.probes.tolist()
    ]
