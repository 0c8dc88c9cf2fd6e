"""A brain that can learn: ships with their masters, and answers about them that were rated good."""

from __future__ import annotations

from memory.fakes import interaction

from ruvllm.memory import Memory
from ruvllm.types import Feedback

SHIPS = "Petrel Heron Osprey Plover Avocet Dunlin Curlew Gannet Fulmar Merlin Kestrel Wigeon".split()


def tell(memory: Memory) -> None:
    """Ingest a document of each ship."""
    memory.ingest(
        [{"title": f"MV {ship}", "text": f"MV {ship} is a ship. Her master is Captain {ship}son."} for ship in SHIPS]
    )


def ask(memory: Memory, id: str, ship: str) -> None:
    """Record the right answer about a ship's master, with what a search shows."""
    query = f"Who is the master of MV {ship}?"
    vector = memory.encode([query])[0]
    shown = tuple(hit.node.id for hit in memory.search(query, 3, query_vector=vector))
    memory.record(
        interaction(id, query=query, answer=f"Captain {ship}son", source_ids=shown, query_vector=vector, session=id)
    )


def rated(memory: Memory) -> None:
    """Tell of the ships, and rate a good answer about each."""
    tell(memory)
    for i, ship in enumerate(SHIPS):
        ask(memory, f"a{i}", ship)
        memory.feedback(f"a{i}", Feedback(rating=5))
