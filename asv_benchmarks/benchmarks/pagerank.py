"""Personalised PageRank of a subgraph, beside its peers."""

from __future__ import annotations

from ruvllm.bench.kernels.pagerank import igraph_pagerank, links, networkx_pagerank, ours, scipy_pagerank

CALLS = {"ruvllm": ours, "networkx": networkx_pagerank, "scipy sparse": scipy_pagerank, "igraph": igraph_pagerank}


class PageRank:
    """To an L1 change of 1e-4; igraph solves exactly."""

    param_names = ("size", "by")
    params = ([(64, 400), (512, 4000)], list(CALLS))

    def setup(self, size: tuple[int, int], by: str) -> None:
        if (call := CALLS[by](links(*size))) is None:
            raise NotImplementedError  # the peer is not installed
        self.call = call

    def time_rank(self, size: tuple[int, int], by: str) -> None:
        self.call()
