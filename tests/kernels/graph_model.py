"""The graph as a plain dict: what every answer of the real one is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_COUNT = 65535


@dataclass
class Values:
    weight: np.float32
    last_used: np.float32
    successes: int = 0
    failures: int = 0

    def astuple(self) -> tuple[float, float, int, int]:
        return float(self.weight), float(self.last_used), self.successes, self.failures


@dataclass
class GraphModel:
    half_life_s: np.ndarray  # by type
    nodes: set[int] = field(default_factory=set)
    edges: dict[tuple[int, int, int], Values] = field(default_factory=dict)
    decayed_at: float = -np.inf

    def remove_nodes(self, ids: list[int]) -> None:
        self.nodes -= set(ids)
        self.edges = {key: v for key, v in self.edges.items() if key[0] in self.nodes and key[1] in self.nodes}

    def add_edge(self, key: tuple[int, int, int], weight: np.float32, last_used: np.float32) -> None:
        values = self.edges.setdefault(key, Values(weight, last_used))
        values.weight, values.last_used = weight, last_used

    def faded(self, key: tuple[int, int, int], now: float) -> np.float32:
        """The weight of an edge at some time."""
        values = self.edges[key]
        age = max(now - max(float(values.last_used), self.decayed_at), 0.0)
        return np.float32(float(values.weight) * 2.0 ** (-age / float(self.half_life_s[key[2]])))

    def entries(
        self, id: int, types: set[int] | None = None, min_weight: float = 0.0, direction: str = "both"
    ) -> list[tuple[float, int, int, int]]:
        """(-weight, neighbour, direction, type) of each edge of a node, sorted: the order in which it is followed."""
        found = []
        for (src, dst, type), values in self.edges.items():
            if (types is not None and type not in types) or values.weight < np.float32(min_weight):
                continue
            if src == id and direction != "in":
                found.append((-float(values.weight), dst, 0, type))
            if dst == id and direction != "out":
                found.append((-float(values.weight), src, 1, type))
        return sorted(found)

    def values(self, id: int, neighbour: int, direction: int, type: int) -> Values:
        return self.edges[(neighbour, id, type) if direction else (id, neighbour, type)]

    def expand(
        self,
        seeds: list[int],
        *,
        hops: int,
        max_nodes: int,
        fan_out: int,
        types: set[int] | None = None,
        min_weight: float = 0.0,
        direction: str = "both",
    ) -> tuple[dict[int, int], list[list[tuple[int, int, int]]]]:
        """Hop by id in order of discovery, and the rows: (column, direction, type) of each entry."""
        hop_of: dict[int, int] = {}
        for seed in seeds:
            if seed in self.nodes and len(hop_of) < max_nodes:
                hop_of.setdefault(seed, 0)
        queue = list(hop_of)
        for id in queue:
            if hop_of[id] == hops:
                break
            for _, neighbour, _, _ in self.entries(id, types, min_weight, direction)[:fan_out]:
                if neighbour not in hop_of and len(hop_of) < max_nodes:
                    hop_of[neighbour] = hop_of[id] + 1
                    queue.append(neighbour)
        place = {id: i for i, id in enumerate(hop_of)}
        rows = [
            sorted((place[n], d, t) for _, n, d, t in self.entries(id, types, min_weight, direction) if n in place)
            for id in hop_of
        ]
        return hop_of, rows

    def reinforce(
        self, ids: set[int], quality: float, success: bool | None, credit: float, eta: float, now: float
    ) -> int:
        is_good = quality >= 0.5
        if success is not None and success != is_good:
            return 0
        a = np.float32(2 * eta * abs(quality - 0.5) * credit)
        moved = [key for key in self.edges if key[0] in ids and key[1] in ids]
        for key in moved:
            values, w = self.edges[key], self.faded(key, now)
            values.weight = np.float32(min(w + a * (np.float32(1) - w), np.float32(1)) if is_good else w - a * w)
            values.last_used = np.float32(now)
            if is_good:
                values.successes = min(values.successes + 1, MAX_COUNT)
            else:
                values.failures = min(values.failures + 1, MAX_COUNT)
        return len(moved)

    def decay(self, now: float, floor: float, min_interactions: int) -> int:
        for key, values in self.edges.items():
            values.weight = self.faded(key, now)
        self.decayed_at = max(self.decayed_at, now)
        gone = [
            key
            for key, v in self.edges.items()
            if v.weight < np.float32(floor) and v.successes + v.failures >= min_interactions
        ]
        for key in gone:
            del self.edges[key]
        return len(gone)
