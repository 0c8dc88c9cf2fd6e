"""The router's cell per instruction set, with its peers; RUVLLM_BENCH_SMALL=1 leaves the peers out."""

from __future__ import annotations

import os

import numpy as np

from ruvllm.bench.kernels.fastgrnn import (
    Call,
    backward_peers,
    batch_peers,
    decision_peers,
    make_batch,
    make_model,
    make_step,
    one_decision,
    step_peers,
)

from . import use_isa

ISAS = ["scalar", "avx2", "avx512"]
FORMS = {"dense": 1.0, "a tenth of W": 0.1}
IS_SMALL = bool(os.environ.get("RUVLLM_BENCH_SMALL"))


def call_of(peers: dict[str, Call], name: str) -> Call:
    if name not in peers:
        raise NotImplementedError  # not installed
    return peers[name]


class FastGrnnStep:
    """One step with heads, called from Python."""

    param_names = ("form", "isa")
    params = ([*FORMS, "int8"], ISAS)

    def setup(self, form: str, isa: str) -> None:
        use_isa(isa)
        model = make_model(w_density=FORMS.get(form, 0.1))
        self.step = model.quantize().step if form == "int8" else model.step
        self.x, self.h = make_step()

    def time_step(self, form: str, isa: str) -> None:
        self.step(self.x, self.h)

    def track_weight_bytes(self, form: str, isa: str) -> int:
        model = make_model(w_density=FORMS.get(form, 0.1))
        return model.quantize().weight_bytes if form == "int8" else model.params().nbytes

    track_weight_bytes.unit = "bytes"  # type: ignore[attr-defined]


class FastGrnnDecision:
    """One step, and the tier with the largest probability."""

    param_names = ("form", "isa")
    params = (list(FORMS), ISAS)

    def setup(self, form: str, isa: str) -> None:
        use_isa(isa)
        self.model = make_model(w_density=FORMS[form])
        self.x, self.h = make_step()

    def time_decision(self, form: str, isa: str) -> None:
        one_decision(self.model, self.x, self.h)


class FastGrnnBatch:
    """256 steps at once; forward and backward of 256 sequences of 8."""

    param_names = ("form", "isa")
    params = (list(FORMS), ISAS)

    def setup(self, form: str, isa: str) -> None:
        use_isa(isa)
        self.model = make_model(w_density=FORMS[form])
        self.x, self.h_0, self.d_hidden = make_batch()
        self.first_x = np.ascontiguousarray(self.x[:, 0])
        _, _, self.tape = self.model.forward_with_tape(self.x, self.h_0)

    def time_batch(self, form: str, isa: str) -> None:
        self.model.step_batch(self.first_x, self.h_0)

    def time_forward(self, form: str, isa: str) -> None:
        self.model.forward_with_tape(self.x, self.h_0)

    def time_backward(self, form: str, isa: str) -> None:
        self.tape.backward(d_hidden=self.d_hidden)


class FastGrnnPeers:
    """The same work by others, on one thread."""

    param_names = ("peer",)
    params = (
        [
            "NumPy FastGRNN",
            "torch GRUCell",
            "onnxruntime GRU",
            "NumPy LinUCB",
            "sklearn LogisticRegression",
            "sklearn MLPClassifier",
            "torch batch",
            "torch backward",
        ],
    )

    def setup(self, peer: str) -> None:
        if IS_SMALL:
            raise NotImplementedError
        if peer == "torch batch":
            self.call = call_of(batch_peers(), "torch, the same cell")
        elif peer == "torch backward":
            self.call = call_of(backward_peers(), "torch, the same cell")
        else:
            self.call = call_of(step_peers() | decision_peers(), peer)

    def time_peer(self, peer: str) -> None:
        self.call()
