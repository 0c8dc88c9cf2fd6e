"""llama.cpp in a process of its own, told what to time by lines of JSON; needs llama-cpp-python and nothing of ruvllm.

Run as `python llama_worker.py MODEL.gguf THREADS CONTEXT_TOKENS`. The first line it prints is {"ready": bytes of the
weights} or {"error": why not}. Then each line of a request is answered by one {"seconds": how long it took}:
{"prefill": [ids]} reads a prompt, {"decode": n} goes on from two tokens by n, {"load": true} loads the model anew and
reads one token.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any


class LlamaCpp:
    """One model and one context; what is timed ends when its logits are there and the likeliest token is known."""

    def __init__(self, path: str, num_threads: int, context_tokens: int) -> None:
        import llama_cpp  # type: ignore[import-not-found, unused-ignore]

        self._api = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._quiet, None)
        llama_cpp.llama_backend_init()
        self._arguments = (path, num_threads, context_tokens)
        self._open()

    def _open(self) -> None:
        path, num_threads, context_tokens = self._arguments
        self._model = self._api.llama_model_load_from_file(path.encode(), self._api.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        options = self._api.llama_context_default_params()
        options.n_ctx = context_tokens
        options.n_batch = options.n_ubatch = 512
        options.n_threads = options.n_threads_batch = num_threads
        options.flash_attn_type = 1  # enabled
        self._context = self._api.llama_init_from_model(self._model, options)
        vocabulary = self._api.llama_model_get_vocab(self._model)
        self._num_tokens = self._api.llama_vocab_n_tokens(vocabulary)

    def _close(self) -> None:
        self._api.llama_free(self._context)
        self._api.llama_model_free(self._model)

    def nbytes(self) -> int:
        """Return the bytes of the weights."""
        return int(self._api.llama_model_size(self._model))

    def prefill(self, ids: list[int]) -> float:
        self._forget()
        started = time.perf_counter()
        self._advance(ids)
        return time.perf_counter() - started

    def decode(self, count: int) -> float:
        self._forget()
        token = self._advance([1, 100])
        started = time.perf_counter()
        for _ in range(count):
            token = self._advance([token])
        return time.perf_counter() - started

    def load(self) -> float:
        self._close()
        started = time.perf_counter()
        self._open()
        self._advance([1])
        return time.perf_counter() - started

    def _forget(self) -> None:
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), True)

    def _advance(self, ids: list[int]) -> int:
        """Append tokens; return the likeliest next one."""
        import numpy as np

        for first in range(0, len(ids), 512):
            part = ids[first : first + 512]
            tokens = (self._api.llama_token * len(part))(*part)
            if self._api.llama_decode(self._context, self._api.llama_batch_get_one(tokens, len(part))):
                raise RuntimeError("llama_decode failed")
        logits = self._api.llama_get_logits_ith(self._context, -1)
        address = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float))
        return int(np.ctypeslib.as_array(address, (self._num_tokens,)).argmax())


def main() -> None:
    path, num_threads, context_tokens = sys.argv[1:]

    def say(**answer: Any) -> None:
        print(json.dumps(answer), flush=True)

    try:
        llama = LlamaCpp(path, int(num_threads), int(context_tokens))
        llama.prefill(list(range(32)))  # a build that the processor does not suit ends here, before anything is timed
    except Exception as error:  # told to whoever asked; the process ends
        say(error=f"{type(error).__name__}: {error}")
        return
    say(ready=llama.nbytes())
    for line in sys.stdin:
        ((what, argument),) = json.loads(line).items()
        say(seconds=llama.load() if what == "load" else getattr(llama, what)(argument))


if __name__ == "__main__":
    main()
