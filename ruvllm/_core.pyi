from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

class Graph:
    def __init__(self, epoch: float, num_types: int, decayed_at: float | None) -> None: ...
    @property
    def epoch(self) -> float: ...
    @property
    def num_types(self) -> int: ...
    @property
    def decayed_at(self) -> float: ...
    def half_lives(self) -> npt.NDArray[np.float32]: ...
    def set_half_lives(self, half_life_s: npt.NDArray[np.float32]) -> None: ...
    def num_nodes(self) -> int: ...
    def num_edges(self) -> int: ...
    def nbytes(self) -> int: ...
    def add_nodes(self, ids: npt.NDArray[np.int64]) -> int: ...
    def remove_nodes(self, ids: npt.NDArray[np.int64]) -> None: ...
    def has_nodes(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]: ...
    def degrees(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...
    def node_ids(self) -> npt.NDArray[np.int64]: ...
    def add_edges(
        self,
        src: npt.NDArray[np.int64],
        dst: npt.NDArray[np.int64],
        types: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32],
        last_used: npt.NDArray[np.float32],
        successes: npt.NDArray[np.uint16] | None,
        failures: npt.NDArray[np.uint16] | None,
    ) -> int: ...
    def update_edges(
        self,
        src: npt.NDArray[np.int64],
        dst: npt.NDArray[np.int64],
        types: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32] | None,
        last_used: npt.NDArray[np.float32] | None,
        successes: npt.NDArray[np.uint16] | None,
        failures: npt.NDArray[np.uint16] | None,
    ) -> None: ...
    def remove_edges(
        self, src: npt.NDArray[np.int64], dst: npt.NDArray[np.int64], types: npt.NDArray[np.uint8]
    ) -> None: ...
    def edge(self, src: int, dst: int, type: int, now: float | None) -> tuple[float, float, int, int] | None: ...
    def neighbours(
        self, id: int, types: list[int] | None, direction: str, now: float | None
    ) -> tuple[npt.NDArray[Any], ...]: ...
    def expand(
        self,
        seeds: npt.NDArray[np.int64],
        hops: int,
        max_nodes: int,
        fan_out: int,
        types: list[int] | None,
        min_weight: float,
        direction: str,
        now: float | None,
    ) -> tuple[npt.NDArray[Any], ...]: ...
    def reach(
        self,
        seeds: npt.NDArray[np.int64],
        hops: int,
        max_nodes: int,
        fan_out: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]: ...
    def among(self, ids: npt.NDArray[np.int64], now: float | None) -> tuple[npt.NDArray[Any], ...]: ...
    def reinforce(
        self,
        nodes: npt.NDArray[np.int64],
        quality: float,
        success: bool | None,
        credit: float,
        eta: float,
        now: float,
    ) -> int: ...
    def decay(self, now: float, floor: float, min_interactions: int) -> int: ...
    def snapshot(self) -> bytes: ...
    @staticmethod
    def restore(snapshot: bytes) -> Graph: ...

def edge_decay(
    weights: npt.NDArray[np.float32],
    last_used: npt.NDArray[np.float32],
    types: npt.NDArray[np.uint8] | None,
    now: float,
    since: float,
    half_life_s: npt.NDArray[np.float32],
) -> None: ...
def edge_decay_and_mark(
    weights: npt.NDArray[np.float32],
    last_used: npt.NDArray[np.float32],
    types: npt.NDArray[np.uint8],
    counts: npt.NDArray[np.uint16],
    now: float,
    since: float,
    half_life_s: npt.NDArray[np.float32],
    floor: float,
    min_interactions: int,
    is_prunable: npt.NDArray[np.bool_],
) -> int: ...
def edge_features(
    types: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
    last_used: npt.NDArray[np.float32],
    successes: npt.NDArray[np.uint16],
    failures: npt.NDArray[np.uint16],
    directions: npt.NDArray[np.uint8],
    now: float,
    half_life_s: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]: ...

class Bm25:
    def __init__(self, k1: float, b: float) -> None: ...
    def add(self, ids: npt.NDArray[np.int64], terms: npt.NDArray[np.uint64], indptr: npt.NDArray[np.int64]) -> None: ...
    def remove(self, ids: npt.NDArray[np.int64]) -> None: ...
    def search(
        self, query: npt.NDArray[np.uint64], k: int, among: npt.NDArray[np.int64] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
    def scores_of(
        self, query: npt.NDArray[np.uint64], terms: npt.NDArray[np.uint64], indptr: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]: ...
    def ids(self) -> npt.NDArray[np.int64]: ...
    def contains(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]: ...
    def size(self) -> tuple[int, int, int]: ...
    def snapshot(self) -> bytes: ...
    def restore(self, snapshot: bytes) -> None: ...

def exact_search(
    vectors: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
    k: int,
    rows: npt.NDArray[np.int64] | None,
    num_threads: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
def exact_search_halves(
    vectors: npt.NDArray[np.uint16],
    queries: npt.NDArray[np.float32],
    k: int,
    rows: npt.NDArray[np.int64] | None,
    num_threads: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
def pagerank(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    restart: npt.NDArray[np.float32],
    damping: float,
    tolerance: float,
    max_iterations: int,
    stay: float,
    types: npt.NDArray[np.uint8] | None,
    type_weights: npt.NDArray[np.float32] | None,
) -> tuple[npt.NDArray[np.float32], int]: ...
def nearness(
    vectors: npt.NDArray[np.float32],
    known: npt.NDArray[np.int64],
    question: npt.NDArray[np.float32],
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    num_strong: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
def walk_prior(
    similarity: npt.NDArray[np.float32],
    bonus: npt.NDArray[np.float32],
    keyword: npt.NDArray[np.float32],
    named: npt.NDArray[np.float32],
    trust: npt.NDArray[np.float32],
    degrees: npt.NDArray[np.int64],
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    types: npt.NDArray[np.uint8],
    directions: npt.NDArray[np.uint8],
    type_weights: npt.NDArray[np.float32],
    beside: npt.NDArray[np.float32],
    relevance: float,
    forward: float,
    hubness: float,
    sharpness: float,
    keyword_weight: float,
    named_share: float,
    starts: int,
    damping: float,
    stay: float,
) -> npt.NDArray[np.float32]: ...
def candidate_features(
    prior: npt.NDArray[np.float32],
    similarity: npt.NDArray[np.float32],
    keyword: npt.NDArray[np.float32],
    fused: npt.NDArray[np.float32],
    named: npt.NDArray[np.float32],
    rest: npt.NDArray[np.float32],
    speaker: npt.NDArray[np.float32],
    place: npt.NDArray[np.int64],
    degrees: npt.NDArray[np.int64],
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    types: npt.NDArray[np.uint8],
    directions: npt.NDArray[np.uint8],
    way_of: npt.NDArray[np.uint8],
    num_ways: int,
    cites_in: int,
    order: int,
    floor: float,
) -> npt.NDArray[np.float32]: ...
def neighbour_maxima(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    groups: npt.NDArray[np.uint8],
    values: npt.NDArray[np.float32],
    num_groups: int,
) -> npt.NDArray[np.float32]: ...
def require_finite_rows(vectors: npt.NDArray[np.float32]) -> None: ...
def widen_rows(halves: npt.NDArray[np.uint16], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]: ...

probe_chains: int

def read_all(values: npt.NDArray[np.float32]) -> float: ...
def multiply_add(values: npt.NDArray[np.float32], steps: int, a: float, b: float) -> None: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def _use_isa(name: str) -> None: ...
def _matmul(form: str, a: npt.NDArray[Any], b: npt.NDArray[Any], out: npt.NDArray[Any], add: bool) -> None: ...

class AttentionTape:
    @property
    def edge_weights(self) -> list[npt.NDArray[Any]]: ...
    @property
    def self_weights(self) -> list[npt.NDArray[Any]]: ...
    @property
    def contexts(self) -> list[npt.NDArray[Any]]: ...
    @property
    def states(self) -> list[npt.NDArray[Any]]: ...
    @property
    def readout_weights(self) -> npt.NDArray[Any]: ...

class GraphAttention:
    def __init__(
        self,
        dim: int,
        width: int,
        num_heads: int,
        num_layers: int,
        num_edge_features: int,
        num_node_features: int,
        num_hop_biases: int,
    ) -> None: ...
    def layout(self) -> list[tuple[str, int, tuple[int, ...]]]: ...
    def params(self) -> npt.NDArray[Any]: ...
    def set_params(self, params: npt.NDArray[Any]) -> None: ...
    def encode(
        self,
        nodes: npt.NDArray[Any],
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        edge_features: npt.NDArray[Any],
    ) -> npt.NDArray[Any]: ...
    def forward(
        self,
        nodes: npt.NDArray[Any],
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        edge_features: npt.NDArray[Any],
        query: npt.NDArray[Any],
        hops: npt.NDArray[np.int32],
        node_features: npt.NDArray[Any],
        keep: bool,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[Any], AttentionTape | None]: ...
    def backward(
        self, tape: AttentionTape, grad_weights: npt.NDArray[Any] | None, grad_attended: npt.NDArray[Any] | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]: ...

class GraphAttentionInDouble(GraphAttention): ...

class FastGrnn:
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        w_rank: int,
        u_rank: int,
        w_support: npt.NDArray[np.bool_] | None,
        heads: list[tuple[int, str]],
    ) -> None: ...
    def layout(self) -> list[tuple[str, int, int, int]]: ...
    def params(self) -> npt.NDArray[Any]: ...
    def set_params(self, params: npt.NDArray[Any]) -> None: ...
    def step(self, x: npt.NDArray[Any], h: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
    @overload
    def forward(
        self, x: npt.NDArray[Any], h_0: npt.NDArray[Any], with_tape: Literal[False]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
    @overload
    def forward(
        self, x: npt.NDArray[Any], h_0: npt.NDArray[Any], with_tape: Literal[True]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], FastGrnnTape]: ...
    def quantize(self) -> FastGrnnInt8: ...

class FastGrnnInDouble(FastGrnn): ...  # without quantize

class FastGrnnTape:
    def backward(
        self, d_logits: npt.NDArray[Any] | None, d_hidden: npt.NDArray[Any] | None, want_d_x: bool
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None]: ...

class FastGrnnInt8:
    def weight_bytes(self) -> int: ...
    def step(self, x: npt.NDArray[Any], h: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...

def adamw_step(
    params: npt.NDArray[Any],
    gradient: npt.NDArray[Any],
    first_moment: npt.NDArray[Any],
    second_moment: npt.NDArray[Any],
    anchor_params: npt.NDArray[Any] | None,
    fisher_diagonal: npt.NDArray[Any] | None,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
    max_norm: float,
    ewc_lambda: float,
) -> tuple[float, float]: ...

class RuntimeModel:
    def __init__(self, path: str, norm_eps: float, num_threads: int) -> None: ...
    @property
    def spec(self) -> str: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def is_encoder(self) -> bool: ...
    def nbytes(self) -> int: ...
    def session(self, kv: str, context_tokens: int) -> RuntimeSession: ...
    def restore(self, snapshot: bytes, context_tokens: int) -> RuntimeSession: ...
    def advance(
        self,
        sessions: list[RuntimeSession],
        ids: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int64],
        want: str,
        tails: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.float32] | None: ...
    def encode(self, ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]: ...

class RuntimeSession:
    @property
    def kv(self) -> str: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def length(self) -> int: ...
    def tokens(self) -> npt.NDArray[np.int32]: ...
    def logits(self) -> npt.NDArray[np.float32]: ...
    def nbytes(self) -> int: ...
    def cut(self, length: int) -> None: ...
    def fork(self, length: int) -> RuntimeSession: ...
    def save(self) -> bytes: ...

class RuntimeSampler:
    def __init__(
        self,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        seed: int,
        limit: int,
    ) -> None: ...
    def next(
        self,
        session: RuntimeSession,
        seen_from: int,
        allowed: npt.NDArray[np.bool_] | None,
        bias: npt.NDArray[np.float32] | None,
    ) -> tuple[int, float]: ...
    def choose(self, logits: npt.NDArray[np.float32], seen: npt.NDArray[np.int32]) -> tuple[int, float]: ...

def _quantize_rows(
    x: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.int32]]: ...

class _Int8Weights:
    def __init__(
        self, w: npt.NDArray[np.int8], row_scales: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
    ) -> None: ...
    def multiply(self, x: npt.NDArray[np.float32], out: npt.NDArray[np.float32], add: bool) -> None: ...

class _Int4Weights:
    def __init__(self, codes: npt.NDArray[np.uint8], scales: npt.NDArray[np.uint16]) -> None: ...
    def multiply(self, x: npt.NDArray[np.float32], out: npt.NDArray[np.float32], add: bool) -> None: ...

def _rms_norm(x: npt.NDArray[np.float32], gamma: npt.NDArray[np.float32], eps: float) -> None: ...
def _layer_norm(
    x: npt.NDArray[np.float32], gamma: npt.NDArray[np.float32], beta: npt.NDArray[np.float32], eps: float
) -> None: ...
def _rotate_halves(
    x: npt.NDArray[np.float32], cosines: npt.NDArray[np.float32], sines: npt.NDArray[np.float32]
) -> None: ...
def _silu_multiply(gate: npt.NDArray[np.float32], up: npt.NDArray[np.float32]) -> None: ...
def _activate(name: str, x: npt.NDArray[np.float32]) -> None: ...
def _softmax_rows(scores: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> None: ...
def _log_sum_exp(x: npt.NDArray[np.float32]) -> tuple[float, int]: ...
def _short_conv(
    projected: npt.NDArray[np.float32],
    taps: npt.NDArray[np.float32],
    history: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None: ...
