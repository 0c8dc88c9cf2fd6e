"""FastGRNN in float64 NumPy, written from the paper, with bounds on what float32 may lose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ruvllm import kernels

EPS = float(np.finfo(np.float32).eps)
ELEMENTARY = 16 * EPS  # a sigmoid or a tanh is within 4 ulp of a value <= 1; a few more operations follow each


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))


@dataclass
class Oracle:
    """The matrices of a model in full, whatever their form: `w` (H, D), `u` (H, H); `w_size` >= |w| is |w1| |w2^T|."""

    model: kernels.FastGrnn
    flat: np.ndarray

    def __post_init__(self) -> None:
        p = self.p = self.model.views(self.flat.astype(np.float64))
        self.u, self.u_size = (
            (p["u"], abs(p["u"])) if "u" in p else (p["u1"] @ p["u2"].T, abs(p["u1"]) @ abs(p["u2"]).T)
        )
        self.w, self.w_size = (
            (p["w"], abs(p["w"])) if "w" in p else (p["w1"] @ p["w2"].T, abs(p["w1"]) @ abs(p["w2"]).T)
        )
        self.zeta, self.nu = sigmoid(p["zeta_raw"]), sigmoid(p["nu_raw"])
        sizes = self.model.input_size + 3 * self.model.hidden_size
        self.rounding = (sizes + 4) * EPS  # of a pre-activation or a logit: terms * eps * sum |a b|

    def with_w(self, w: np.ndarray) -> Oracle:
        self.w, self.w_size = w.astype(np.float64), abs(w).astype(np.float64)
        return self

    def gate_candidate(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a = x @ self.w.T + h @ self.u.T
        return sigmoid(a + self.p["bias_gate"]), np.tanh(a + self.p["bias_update"])

    def pre_activation_size(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """What a is made of, without signs: its rounding is a multiple of this."""
        biases = abs(self.p["bias_gate"]) + abs(self.p["bias_update"])
        return abs(x) @ self.w_size.T + abs(h) @ self.u_size.T + biases

    def step(self, x: np.ndarray, h: np.ndarray, h_error: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """h' and the bound on its float32 error, given that of h. x (..., D), h (..., H)."""
        z, c = self.gate_candidate(x, h)
        new_h = (self.zeta * (1 - z) + self.nu) * c + z * h
        a_error = self.rounding * self.pre_activation_size(x, h) + (np.zeros_like(h) + h_error) @ self.u_size.T
        slope = self.zeta + self.nu + (abs(h) + self.zeta) / 4  # |tanh'| <= 1, |s'| <= 1/4
        return new_h, slope * a_error + z * h_error + ELEMENTARY * (abs(h) + 2)

    def outputs(self, h: np.ndarray, h_error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The heads on h and the bound on their float32 error."""
        v, bias = self.p["head_weight"], self.p["head_bias"]
        logits = h @ v.T + bias
        error = h_error @ abs(v).T + self.rounding * (abs(h) @ abs(v).T + abs(bias))
        parts = self.model.split(logits)
        for head in self.model.heads:
            part = parts[head.name]
            if head.activation == "softmax":
                e = np.exp(part - part.max(axis=-1, keepdims=True))
                part[...] = e / e.sum(axis=-1, keepdims=True)
            elif head.activation == "sigmoid":
                part[...] = sigmoid(part)
        # d p_i <= p_i (e^(2 max d logit) - 1) for a softmax, less for the others; sums of `size` terms
        return logits, 3 * error.max(axis=-1, keepdims=True) + (self.model.num_outputs + 1) * ELEMENTARY

    def forward(self, x: np.ndarray, h_0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every h_t and its error bound, x (n, steps, D)."""
        states, errors, h, error = [], [], h_0.astype(np.float64), np.zeros(h_0.shape)
        for t in range(x.shape[1]):
            h, error = self.step(x[:, t].astype(np.float64), h, error)
            states.append(h)
            errors.append(error)
        return np.stack(states, 1), np.stack(errors, 1)

    def backward(
        self, x: np.ndarray, h_0: np.ndarray, d_logits: np.ndarray, d_hidden: np.ndarray, *, sizes: bool = False
    ) -> dict[str, np.ndarray]:
        """Every gradient; with `sizes`, what each is made of without signs, of which rounding is a multiple."""
        size = np.abs if sizes else np.asarray
        minus = np.add if sizes else np.subtract
        u, w, v, zeta = size(self.u), size(self.w), size(self.p["head_weight"]), self.zeta
        if sizes:
            u, w = self.u_size, self.w_size
        x64, before = x.astype(np.float64), np.concatenate([h_0[:, None], self.forward(x, h_0)[0]], axis=1)
        hidden = before[:, 1:]
        d_all = size(d_hidden) + size(d_logits) @ v
        carry, g = np.zeros(h_0.shape), {name: np.zeros(view.shape) for name, view in self.p.items()}
        g |= {"w_full": np.zeros(w.shape), "u_full": np.zeros(u.shape), "x": np.zeros(x.shape)}
        g["head_weight"] = np.einsum("nto,nth->oh", size(d_logits), size(hidden))
        g["head_bias"] = size(d_logits).sum((0, 1))
        for t in reversed(range(x.shape[1])):
            h, d = before[:, t], d_all[:, t] + carry
            z, c = self.gate_candidate(x64[:, t], h)
            h, c = size(h), size(c)
            g_h = d * (zeta * minus(1, z) + self.nu) * minus(1, c * c)
            g_z = d * minus(h, zeta * c) * z * minus(1, z)
            g_a = g_h + g_z
            g["bias_update"] += g_h.sum(0)
            g["bias_gate"] += g_z.sum(0)
            g["zeta_raw"] += zeta * (1 - zeta) * (d * minus(1, z) * c).sum()
            g["nu_raw"] += self.nu * (1 - self.nu) * (d * c).sum()
            g["w_full"] += g_a.T @ size(x64[:, t])
            g["u_full"] += g_a.T @ h
            g["x"][:, t] = g_a @ w
            carry = d * z + g_a @ u
        g["h_0"] = carry
        for name in ("w", "u"):
            full = g.pop(f"{name}_full")
            if name in self.p:
                g[name] = full
            else:
                g[f"{name}1"] = full @ size(self.p[f"{name}2"])
                g[f"{name}2"] = full.T @ size(self.p[f"{name}1"])
        return g
