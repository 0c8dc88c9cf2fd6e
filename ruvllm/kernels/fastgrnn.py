"""The FastGRNN cell with heads: one fused step, batches of sequences, and their gradients.

Pre-activation a = W x + U h, gate z = s(a + bias_gate), candidate c = tanh(a + bias_update), new state
h' = (zeta (1 - z) + nu) c + z h with zeta = s(zeta_raw), nu = s(nu_raw), s the logistic function; gate and candidate
share W and U. The heads are a linear layer on h', in groups with an activation each.

Source: Kusupati et al. 2018, equations 6 and 7 (arXiv:1901.02358); W = W1 W2^T and U = U1 U2^T act on column vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["ROUTER_HEADS", "FastGrnn", "FastGrnnGradients", "FastGrnnInt8", "FastGrnnTape", "Head", "keep_largest"]

Floats = npt.NDArray[Any]  # float32, or float64 in a model made with dtype=np.float64
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Head:
    """A named group of neighbouring outputs that share an activation."""

    name: str
    size: int
    activation: Literal["softmax", "sigmoid", "linear"]


ROUTER_HEADS = (
    Head("tier", 4, "softmax"),
    Head("context", 5, "softmax"),
    Head("temperature", 1, "sigmoid"),
    Head("top_p", 1, "sigmoid"),
    Head("confidence", 1, "sigmoid"),
)


class FastGrnnGradients(NamedTuple):
    """Gradients of a loss: `params` (num_params,) in the model's layout, `h_0` (n, hidden_size), `x` if asked for."""

    params: Floats
    h_0: Floats
    x: Floats | None


class FastGrnnTape:
    """What a forward pass leaves for its backward: the parameters it ran with, its gates, its candidates.

    It also refers to the arrays x, h_0 and hidden of that pass, which must not change before `backward`.
    """

    __slots__ = ("_tape",)

    def __init__(self, tape: core.FastGrnnTape) -> None:
        self._tape = tape

    def backward(
        self, *, d_logits: Floats | None = None, d_hidden: Floats | None = None, want_d_x: bool = False
    ) -> FastGrnnGradients:
        """Return every gradient, back through all steps; may be called more than once.

        Args:
            d_logits: (n, steps, num_outputs), dL/d of the heads *before* their activation: p - y for a softmax or a
                sigmoid under cross-entropy. Zeros when None.
            d_hidden: (n, steps, hidden_size), dL/dh_t beside what comes through the heads. Zeros when None. A sequence
                shorter than the batch ends early: zeros in both past its last step make those steps count nothing.
            want_d_x: whether dL/dx is wanted too, which costs another product with W.

        Raises:
            TypeError, ValueError: wrong dtype, shape or order; a NaN or an infinity.
        """
        return FastGrnnGradients(*self._tape.backward(d_logits, d_hidden, want_d_x))


class FastGrnnInt8:
    """A model for inference with int8 matrices, one scale each; made by `FastGrnn.quantize`, never changes."""

    __slots__ = ("_engine", "step")

    def __init__(self, engine: core.FastGrnnInt8) -> None:
        self._engine = engine
        self.step = engine.step  # the same call as FastGrnn.step

    @property
    def weight_bytes(self) -> int:
        """Bytes of everything one step reads."""
        return self._engine.weight_bytes()


class FastGrnn:
    """A cell of `input_size` numbers in and `hidden_size` of state, with heads.

    The parameters are one flat buffer (`layout`, `views`), all zero until `set_params`. Setting them is atomic: a call
    in another thread runs with the old ones or with the new ones. The state grows by at most nu a step:
    |h_t| <= max(|h_0|, zeta) + t nu.

    Args:
        input_size, hidden_size: 1 to 16 384; a model has at most 2^27 parameters.
        u_rank: rank of U = U1 U2^T; 0 for a full U.
        w_rank: rank of W = W1 W2^T; 0 for a dense or sparse W.
        w_support: (hidden_size, input_size) bool, where W may be non-zero (see `keep_largest`): W is then stored sparse
            and its gradient is computed on the support only. None for a dense W.
        heads: groups of outputs, in order; may be empty.
        dtype: np.float32, or np.float64 for checking gradients: that runs the plain definition in double.

    Raises:
        TypeError, ValueError: a size out of range, a support of the wrong dtype or shape, an unknown activation.
    """

    __slots__ = (
        "_engine",
        "_fields",
        "dtype",
        "heads",
        "hidden_size",
        "input_size",
        "num_outputs",
        "num_params",
        "step",
    )

    def __init__(
        self,
        input_size: int = 128,
        hidden_size: int = 64,
        *,
        u_rank: int = 8,
        w_rank: int = 0,
        w_support: Mask | None = None,
        heads: Sequence[Head] = ROUTER_HEADS,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64 ({self.dtype})")
        if len({head.name for head in heads}) != len(heads):
            raise ValueError(f"heads must have different names ({', '.join(head.name for head in heads)})")
        engine = core.FastGrnn if self.dtype == np.float32 else core.FastGrnnInDouble
        self._engine = engine(
            input_size, hidden_size, w_rank, u_rank, w_support, [(head.size, head.activation) for head in heads]
        )
        self.input_size, self.hidden_size, self.heads = input_size, hidden_size, tuple(heads)
        self.num_outputs = sum(head.size for head in heads)
        self._fields = {
            name: (slice(offset, offset + rows * max(columns, 1)), (rows, columns) if columns else (rows,))
            for name, offset, rows, columns in self._engine.layout()
        }
        self.num_params = max(piece.stop for piece, _ in self._fields.values())
        self.step = self._engine.step
        """step(x, h) -> (new_h, outputs): one step of one sequence.

        x (input_size,) and h (hidden_size,), finite, of this model's dtype; new_h (hidden_size,) and outputs
        (num_outputs,), after the activations (`split` names them). It is the compiled function itself, since a Python
        method around it would cost as much as the arithmetic, and it keeps the interpreter lock for its microsecond.
        """

    @property
    def layout(self) -> Mapping[str, tuple[slice, tuple[int, ...]]]:
        """Where each parameter lies in the flat buffer, row-major: name -> (slice, shape).

        w (hidden, input), or (nnz,) along the rows of the support, or w1 (hidden, w_rank) and w2 (input, w_rank);
        u (hidden, hidden), or u1 and u2 (hidden, u_rank); bias_gate and bias_update (hidden,); zeta_raw (1,);
        nu_raw (1,); head_weight (num_outputs, hidden); head_bias (num_outputs,).
        """
        return MappingProxyType(self._fields)

    def views(self, flat: Floats) -> dict[str, Floats]:
        """Return `flat`, (num_params,) parameters or gradients, by name; views, so writing to them writes to `flat`."""
        if flat.shape != (self.num_params,):
            raise ValueError(f"flat must have shape ({self.num_params},) ({flat.shape})")
        return {name: flat[piece].reshape(shape) for name, (piece, shape) in self._fields.items()}

    def initial_params(self, rng: np.random.Generator) -> Floats:
        """Return parameters to start training from: matrices 0.1 N(0, 1), zeta_raw 1, nu_raw -4, cell biases 1."""
        flat = np.zeros(self.num_params, self.dtype)
        for name, view in self.views(flat).items():
            if name in ("bias_gate", "bias_update", "zeta_raw"):
                view[:] = 1.0
            elif name == "nu_raw":
                view[:] = -4.0
            elif name != "head_bias":
                view[:] = 0.1 * rng.standard_normal(view.shape)
        return flat

    def params(self) -> Floats:
        """Return a copy of the flat parameters, (num_params,)."""
        return self._engine.params()

    def set_params(self, params: Floats) -> None:
        """Replace all parameters by a copy of `params`, (num_params,) and finite, at once.

        Raises:
            TypeError, ValueError: wrong dtype or shape, a NaN or an infinity; the old parameters stay.
        """
        self._engine.set_params(params)

    def split(self, outputs: Floats) -> dict[str, Floats]:
        """Return views of the last axis of `outputs`, (..., num_outputs), by the names of the heads."""
        ends = np.cumsum([head.size for head in self.heads])
        return {head.name: outputs[..., end - head.size : end] for head, end in zip(self.heads, ends, strict=True)}

    def step_batch(self, x: Floats, h: Floats) -> tuple[Floats, Floats]:
        """Return new_h (n, hidden_size) and outputs (n, num_outputs) of one step of n sequences.

        Args:
            x: (n, input_size), finite.
            h: (n, hidden_size), finite.
        """
        if isinstance(x, np.ndarray) and x.ndim != 2:
            raise ValueError(f"x must have 2 dimensions ({x.ndim})")
        steps = x[:, np.newaxis] if isinstance(x, np.ndarray) else x
        hidden, outputs = self._engine.forward(steps, h, False)
        return hidden[:, 0], outputs[:, 0]

    def forward(self, x: Floats, h_0: Floats) -> tuple[Floats, Floats]:
        """Return hidden (n, steps, hidden_size), every h_t, and outputs (n, steps, num_outputs) of the heads on each.

        Args:
            x: (n, steps, input_size), finite; n and steps >= 1.
            h_0: (n, hidden_size), finite.

        Raises:
            TypeError, ValueError: wrong dtype, shape or order; a NaN or an infinity.
        """
        hidden, outputs = self._engine.forward(x, h_0, False)
        return hidden, outputs

    def forward_with_tape(self, x: Floats, h_0: Floats) -> tuple[Floats, Floats, FastGrnnTape]:
        """Return what `forward` does and the tape whose `backward` gives the gradients."""
        hidden, outputs, tape = self._engine.forward(x, h_0, True)
        return hidden, outputs, FastGrnnTape(tape)

    def quantize(self) -> FastGrnnInt8:
        """Return the present model with matrices rounded to int8, each to largest |value| / 127 times -127 .. 127."""
        if self.dtype != np.float32:
            raise ValueError(f"dtype must be float32 to quantize ({self.dtype})")
        return FastGrnnInt8(self._engine.quantize())


def keep_largest(w: npt.NDArray[np.floating], w_density: float) -> Mask:
    """Return where the largest |w| lie: a mask of w's shape with round(w_density * w.size) entries, at least one.

    The projection of iterative hard thresholding; `w_density` is the share that is kept (some call 0.1 a sparsity of
    0.1, some of 0.9). Of equal magnitudes the first in memory order is kept.

    Raises:
        ValueError: `w` is empty or holds a NaN, `w_density` is outside (0, 1].
    """
    if not 0.0 < w_density <= 1.0:
        raise ValueError(f"w_density must be in (0, 1] ({w_density})")
    if not isinstance(w, np.ndarray) or w.dtype.kind != "f":
        raise TypeError(f"w must be an array of floats ({getattr(w, 'dtype', type(w).__name__)})")
    if w.size == 0 or np.isnan(w).any():
        raise ValueError("w must hold numbers, none of them NaN")
    kept = np.argsort(-np.abs(w), axis=None, kind="stable")[: max(1, round(w_density * w.size))]
    mask = np.zeros(w.size, np.bool_)
    mask[kept] = True
    return mask.reshape(w.shape)
