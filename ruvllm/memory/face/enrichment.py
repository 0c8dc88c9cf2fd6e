"""The links of a memory that a local model made, by names that it found in texts."""

from __future__ import annotations

from collections.abc import Sequence

from ruvllm.memory.arguments import checked_count, checked_id, checked_texts
from ruvllm.memory.enrichments import (
    MADE_BY_ENRICHMENT,
    delete_enrichments,
    unread_nodes,
    write_enrichment,
    write_failure,
)
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.links import EdgeKey
from ruvllm.memory.rows import checked_text

__all__ = ["Enrichment"]


class Enrichment(OpenedBrain):
    """What a memory does with the names that a model found."""

    def unread(self, model: str, version: int, max_links: int) -> list[int]:
        """Return the passages with at most `max_links` links that a model has not read, those with the fewest first.

        Links are those by names, by writing and by likeness; what a model linked does not count. Passages on which the
        model failed come last, and not any more after three times, unless it is an endpoint.

        Args:
            version: of how the model is asked; another one reads everything again.
        """
        reader, version = MADE_BY_ENRICHMENT + checked_text(model, "model"), checked_count(version, "version", least=0)
        most = checked_count(max_links, "max_links", least=0)
        return unread_nodes(self._store, self.namespace, reader, version, most)

    def put_names(self, node_id: int, names: Sequence[str], model: str, version: int) -> int | None:
        """Link a passage by names that a model found in it, in one transaction; durable on return.

        A name links as one that ingest finds: only where it stands word for word in the passage, at most six others
        have it, and to the newest three of these. What an earlier reading of the passage linked is replaced.

        Returns:
            how many links were made; None when the passage is not searched any more: then nothing is stored.
        """
        self.require_writable()
        node_id, names = checked_id(node_id, "node_id"), checked_texts(names, "names")
        reader, version = MADE_BY_ENRICHMENT + checked_text(model, "model"), checked_count(version, "version", least=0)

        def after(done: tuple[int, list[EdgeKey]] | None) -> None:
            if done is not None:
                self._links.pruned(done[1])
                if done[0]:
                    self._links.added([node_id])

        done = self._store.write(
            lambda connection: write_enrichment(connection, self.namespace, node_id, names, reader, version),
            after=after,
        )
        return None if done is None else done[0]

    def put_failure(self, node_id: int, model: str, version: int) -> bool:
        """Count that a model failed on a passage; durable on return. Return whether it will not be `unread` again."""
        self.require_writable()
        node_id = checked_id(node_id, "node_id")
        reader, version = MADE_BY_ENRICHMENT + checked_text(model, "model"), checked_count(version, "version", least=0)
        return self._store.write(lambda connection: write_failure(connection, self.namespace, node_id, reader, version))

    def remove_names(self) -> int:
        """Take back every link that models made here, and what they found; return how many links went."""
        self.require_writable()
        gone = self._store.write(
            lambda connection: delete_enrichments(connection, self.namespace), after=self._links.pruned
        )
        return len(gone)
