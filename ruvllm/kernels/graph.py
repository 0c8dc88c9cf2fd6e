"""A typed, weighted, directed multigraph in memory, and the subgraphs that retrieval and attention work on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from operator import index
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.edge_decay import edge_features, half_lives
from ruvllm.kernels.loaded import core

__all__ = ["Direction", "EdgeValues", "Graph", "Neighbours", "Subgraph"]

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]
Direction = Literal["both", "out", "in"]


class EdgeValues(NamedTuple):
    """What an edge carries; `last_used` in seconds since the epoch of the graph."""

    weight: float
    last_used: float
    successes: int
    failures: int


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The edges of one node, by stored weight, heaviest first; ties by lower id, then outgoing, then the lower type.

    Attributes:
        ids: (k,) int64, the node at the other end; twice when two edges lead there.
        types, weights, last_used, successes, failures: (k,) uint8, float32, float32, uint16, uint16.
        directions: (k,) uint8, 0 for an edge that leaves the node, 1 for one that reaches it.
    """

    ids: Ids
    types: Bytes
    weights: Floats
    last_used: Floats
    successes: Counts
    failures: Counts
    directions: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class Subgraph:
    """Nodes in the order of their discovery, seeds first, and the edges among them as compressed sparse rows.

    Row i holds what node i attends to: entries indptr[i] to indptr[i + 1], by column, then direction, then type.

    Attributes:
        ids: (n,) int64 node ids.
        hops: (n,) int32, edges on the shortest way from a seed among the edges that were followed.
        indptr: (n + 1,) int64.
        indices: (nnz,) int32, places in `ids`.
        types, weights, last_used, successes, failures: (nnz,) uint8, float32, float32, uint16, uint16 of the edge.
        directions: (nnz,) uint8, 0 when the edge leads from the row's node to the column's, 1 when it comes from there.
    """

    ids: Ids
    hops: npt.NDArray[np.int32]
    indptr: Ids
    indices: npt.NDArray[np.int32]
    types: Bytes
    weights: Floats
    last_used: Floats
    successes: Counts
    failures: Counts
    directions: Bytes

    def __repr__(self) -> str:
        return f"Subgraph({len(self.ids)} nodes, {len(self.indices)} entries)"


class Graph:
    """Nodes with 64-bit ids and edges keyed by (src, dst, type), in memory.

    Any thread may call any method. Readers never wait for readers; a writer waits for the readers that are inside, and
    readers wait while it writes. The interpreter lock is released meanwhile. What a call cannot do it refuses with a
    ValueError naming the argument, and nothing has changed then.

    Times in arrays are float32 seconds since `epoch`; `now` and `decayed_at` are unix seconds. A weight is in [0, 1].

    Weights fade. Each is stored as it was at the edge's last use or at the last permanent decay, whichever is later;
    since then it has halved with every half-life of its type: w * 2^(-age / half_life_s[type]) with age = now -
    max(last_used, decayed_at), at least 0. Reading with `now` gives what is left then, reading without what is stored.

    Memory: 25 bytes an edge and about 41 a node after a bulk load; up to two thirds more after edges were added one by
    one. Following the edges of a node reads all of them, O(degree): 0.3 ms for a hub with 100 000; what the heaviest
    edges of a node with 64 or more lead to is kept until one of them changes. Adding one edge to a node with d incoming
    ones moves up to 8 d bytes.
    """

    def __init__(
        self,
        *,
        num_types: int,
        half_life_s: float | Floats = np.inf,
        epoch: float = 0.0,
        decayed_at: float | None = None,
    ) -> None:
        """Make an empty graph.

        Args:
            num_types: edge types are 0 .. num_types - 1; 1 to 256.
            half_life_s: > 0, for all types or (num_types,) float32; infinity for what never fades.
            epoch: unix seconds from which times in arrays count; float32 resolves 2 s a year after it.
            decayed_at: when weights that will be added were last decayed for good; None when they never were.
        """
        self._core = core.Graph(epoch, num_types, decayed_at)
        self._core.set_half_lives(half_lives(half_life_s, num_types))

    def __repr__(self) -> str:
        return f"Graph({self.num_nodes} nodes, {self.num_edges} edges, {self.num_types} types)"

    def __contains__(self, id: int) -> bool:
        number = index(id)
        return -(2**63) <= number < 2**63 and bool(self.has_nodes(np.array([number], np.int64))[0])

    @property
    def epoch(self) -> float:
        return self._core.epoch

    @property
    def num_types(self) -> int:
        return self._core.num_types

    @property
    def half_life_s(self) -> Floats:
        """(num_types,) float32; a copy."""
        return self._core.half_lives()

    @property
    def decayed_at(self) -> float | None:
        """Unix seconds of the last permanent decay, None before the first."""
        at = self._core.decayed_at
        return None if at == -np.inf else at

    @property
    def num_nodes(self) -> int:
        return self._core.num_nodes()

    @property
    def num_edges(self) -> int:
        return self._core.num_edges()

    @property
    def nbytes(self) -> int:
        """All memory of the graph, slack included."""
        return self._core.nbytes()

    def add_nodes(self, ids: Ids) -> int:
        """Add nodes, (n,) int64; return how many were new."""
        return self._core.add_nodes(ids)

    def remove_nodes(self, ids: Ids) -> None:
        """Remove known nodes, (n,) int64, with all their edges."""
        self._core.remove_nodes(ids)

    def has_nodes(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Return which of `ids`, (n,) int64, are known."""
        return self._core.has_nodes(ids)

    def degrees(self, ids: Ids) -> Ids:
        """Return (n, 2) int64, how many edges leave and how many reach each of `ids`, (n,) int64; 0 if unknown."""
        return self._core.degrees(ids)

    def node_ids(self) -> Ids:
        """Return the ids of all nodes, in no particular order."""
        return self._core.node_ids()

    def add_edges(
        self,
        src: Ids,
        dst: Ids,
        types: Bytes,
        weights: Floats,
        last_used: Floats,
        *,
        successes: Counts | None = None,
        failures: Counts | None = None,
    ) -> int:
        """Add edges; one that is known keeps its history and takes the values given. Return how many were new.

        All arrays have shape (m,). An edge named twice takes the later values. Adding millions at once to an empty
        graph leaves no slack and is far faster than adding them one by one.

        Args:
            src, dst: int64, known nodes; an edge from a node to itself is refused.
            types: uint8, below num_types.
            weights: float32 in [0, 1].
            last_used: float32 seconds since the epoch; the weight fades from then on.
            successes, failures: uint16; new edges start at 0 when None.

        Raises:
            ValueError: an unknown node, a self-edge, a value out of range, a NaN, a wrong dtype or length.
        """
        return self._core.add_edges(src, dst, types, weights, last_used, successes, failures)

    def update_edges(
        self,
        src: Ids,
        dst: Ids,
        types: Bytes,
        *,
        weights: Floats | None = None,
        last_used: Floats | None = None,
        successes: Counts | None = None,
        failures: Counts | None = None,
    ) -> None:
        """Set values of known edges; arguments as for `add_edges`, None leaves a value as it is.

        A weight set alone counts from the edge's `last_used` or the last decay, whichever is later: to set what it is
        at some time, give that time as `last_used`, too.
        """
        self._core.update_edges(src, dst, types, weights, last_used, successes, failures)

    def remove_edges(self, src: Ids, dst: Ids, types: Bytes) -> None:
        """Remove known edges; arguments as for `add_edges`."""
        self._core.remove_edges(src, dst, types)

    def edge(self, src: int, dst: int, type: int, *, now: float | None = None) -> EdgeValues | None:
        """Return what an edge carries, None when there is none; its weight at `now`, or as stored when None."""
        values = self._core.edge(src, dst, type, now)
        return None if values is None else EdgeValues(*values)

    def neighbours(
        self,
        id: int,
        *,
        types: Collection[int] | None = None,
        direction: Direction = "both",
        now: float | None = None,
    ) -> Neighbours:
        """Return the edges of a known node; only some types when `types` are given.

        Weights are those at `now`, or as stored when None. The order goes by stored weights either way.
        """
        return Neighbours(*self._core.neighbours(id, _list(types), direction, now))

    def expand(
        self,
        seeds: Ids,
        *,
        hops: int = 2,
        max_nodes: int = 512,
        fan_out: int = 16,
        types: Collection[int] | None = None,
        min_weight: float = 0.0,
        direction: Direction = "both",
        now: float | None = None,
    ) -> Subgraph:
        """Return the nodes around `seeds`, breadth-first, and all edges among them.

        From each node closer than `hops` the `fan_out` heaviest edges are followed, in the order of `Neighbours`. Nodes
        found once `max_nodes` are there are dropped, and so are the edges to them. What `fan_out` and `min_weight` pick
        goes by stored weights, whatever `now` is.

        Args:
            seeds: (s,) int64. Unknown ids are passed over: the index that names them may be a moment ahead.
            hops: >= 0; 0 gives the seeds and the edges among them.
            max_nodes: >= 1, seeds included.
            fan_out: >= 1.
            types: only edges of these types are followed and returned; all when None.
            min_weight: in [0, 1]; edges below it are neither followed nor returned.
            direction: "out" follows and returns edges as seen from their source, "in" from their target, "both" from
                either end: each edge among the nodes is then an entry of both rows.
            now: unix seconds to which the returned weights are brought; as stored when None.
        """
        return Subgraph(*self._core.expand(seeds, hops, max_nodes, fan_out, _list(types), min_weight, direction, now))

    def reach(
        self, seeds: Ids, *, hops: int = 2, max_nodes: int = 512, fan_out: int = 16
    ) -> tuple[Ids, npt.NDArray[np.int32]]:
        """Return `ids` and `hops` of what `expand` finds around `seeds`, without the edges."""
        return self._core.reach(seeds, hops, max_nodes, fan_out)

    def among(self, ids: Ids, *, now: float | None = None) -> Subgraph:
        """Return `ids`, (n,) int64, in their order, and all edges among them; an unknown id is a node without edges.

        Hops are 0. Weights are those at `now`, in unix seconds, or as stored when None.

        Raises:
            ValueError: a known id is named twice.
        """
        return Subgraph(*self._core.among(ids, now))

    def edge_features(self, subgraph: Subgraph, *, now: float) -> Floats:
        """Return `edge_features` of the subgraph's entries, (nnz, num_types + 5) float32; `now` in unix seconds.

        Weights are taken as the subgraph has them: `expand` it with the same `now`.
        """
        return edge_features(
            subgraph.types,
            subgraph.weights,
            subgraph.last_used,
            subgraph.successes,
            subgraph.failures,
            subgraph.directions,
            now=now - self.epoch,
            half_life_s=self.half_life_s,
        )

    def reinforce(
        self,
        nodes: Ids,
        *,
        quality: float,
        now: float,
        success: bool | None = None,
        credit: float = 1.0,
        eta: float = 0.1,
    ) -> int:
        """Move the weight w of every edge among a set of nodes after an outcome; return how many edges moved.

        First w is brought to `now`, so that an edge keeps nothing that faded while it was idle. With a = 2 eta
        |quality - 1/2| credit it then moves: w += a (1 - w) when the outcome is good (quality >= 1/2 and success is not
        False), w -= a w when it is bad (quality < 1/2 and success is not True), else nothing moves. An edge that moves
        counts one success or failure (65 535 at most) and was last used now.

        Args:
            nodes: (n,) int64, known.
            quality: in [0, 1].
            now: unix seconds.
            success: of the task, None when unknown.
            credit: in [0, 1], the part of these nodes in the outcome.
            eta: in [0, 1], learning rate.

        Raises:
            ValueError: an unknown node, a number out of range.
        """
        return self._core.reinforce(nodes, quality, success, credit, eta, now)

    def decay(self, now: float, *, floor: float = 0.0, min_interactions: int = 0) -> int:
        """Bring all stored weights to `now` and prune; return how many edges were pruned.

        Calling it often or seldom gives the same weights. Then edges with w < floor and successes + failures >=
        min_interactions are removed.

        Args:
            now: unix seconds; becomes `decayed_at` unless that is later already.
            floor: in [0, 1]; 0 prunes nothing.
            min_interactions: >= 0.
        """
        return self._core.decay(now, floor, min_interactions)

    def snapshot(self) -> bytes:
        """Return the graph as bytes: versioned, little-endian, with a checksum. `restore(s).snapshot() == s`.

        Half-lives are configuration and not part of it.
        """
        return self._core.snapshot()

    @classmethod
    def restore(cls, snapshot: bytes, *, half_life_s: float | Floats = np.inf) -> Graph:
        """Return the graph that `snapshot` holds; with the same half-lives it answers every query as the original did.

        Args:
            snapshot: from `snapshot`.
            half_life_s: as for `Graph`.

        Raises:
            ValueError: bytes that are damaged, cut off, extended, of another version or not a snapshot at all.
        """
        graph = cls.__new__(cls)
        graph._core = core.Graph.restore(snapshot)
        graph._core.set_half_lives(half_lives(half_life_s, graph.num_types))
        return graph


def _list(types: Collection[int] | None) -> list[int] | None:
    if types is None:
        return None
    try:
        if isinstance(types, str | bytes):
            raise TypeError
        return [index(type) for type in types]
    except TypeError:
        raise TypeError(f"types must be integers ({types!r})") from None
