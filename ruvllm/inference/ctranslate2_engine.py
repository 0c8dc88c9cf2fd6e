"""Local generation through CTranslate2."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ruvllm.errors import EngineError
from ruvllm.inference.chat import ChatTemplate
from ruvllm.inference.ctranslate2_model import open_generator
from ruvllm.inference.decoding import TokenDecoder
from ruvllm.inference.engine import Cancelled, Piece, require_fits, require_messages
from ruvllm.inference.local_model import available_threads, load_tokenizer
from ruvllm.inference.stops import StopFilter
from ruvllm.models import read_card
from ruvllm.types import FinishReason, GenerationOptions, Message

if TYPE_CHECKING:
    import ctranslate2

__all__ = ["CTranslate2Engine"]

logger = logging.getLogger(__name__)

_GREEDY_BELOW = 1e-4  # a temperature that leaves float32 no choice
_UNSEEDED = 2**32 - 1  # what CTranslate2 takes for "seed from the system"
_POLL_S = 0.05  # between tokens nothing is lost by it; a longer one would delay a cancel during the prefill
_seeding = threading.Lock()
_open_engines: weakref.WeakSet[CTranslate2Engine] = weakref.WeakSet()


class CTranslate2Engine:
    """A decoder in CTranslate2's format on the CPU; streams from several threads wait for each other.

    The repetition penalty covers the generated tokens, not the prompt. Log-probabilities are those after the penalty
    and before temperature, top_k and top_p.

    A seeded, sampled stream loads a second copy of the model for its duration: CTranslate2 draws from a generator that
    each worker thread seeds once in its life from one process-wide number, which is set back afterwards.

    Args:
        model_dir: a converted model with tokenizer.json and tokenizer_config.json.
        num_threads: cores for one step; 0 takes all. Small models decode fastest on one.
        context_tokens: the most that prompt and answer together may hold; never more than the model's own.

    Raises:
        ModelDamaged: a file is missing, truncated or does not fit the others.
        ModelUnsupported: CTranslate2 cannot run this model, or it has no chat template.
    """

    def __init__(self, model_dir: Path, *, num_threads: int = 1, context_tokens: int = 2048) -> None:
        self._card = read_card(model_dir)
        self._model_dir = model_dir
        self._num_threads = available_threads(num_threads)
        self._closed = threading.Event()
        self._runs: weakref.WeakSet[_Run] = weakref.WeakSet()
        self._generator: ctranslate2.Generator | None = self._load()
        self._template = ChatTemplate.from_directory(model_dir)
        self._tokenizer = load_tokenizer(model_dir, self._card)
        ids = (self._tokenizer.token_to_id(token) for token in self._card.stop_tokens)
        self._end_ids = frozenset(i for i in ids if i is not None)
        self.name = model_dir.name
        self.context_tokens = min(context_tokens, self._card.context_tokens)
        self.parameters: int | None = self._card.parameters
        self.size_bytes = (model_dir / "model.bin").stat().st_size
        _open_engines.add(self)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the exact length of the rendered prompt."""
        require_messages(messages)
        return len(self._template.encode(messages))

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        """Yield one piece per token; see `Engine.stream`. A wrong request raises here, before the first token."""
        require_messages(messages)
        if options.json_schema is not None:
            raise ValueError(f"json_schema: CTranslate2, which runs {self.name}, cannot keep to one")
        if options.min_p > 0.0:
            raise ValueError(f"min_p: CTranslate2, which runs {self.name}, has no such cut")
        prompt = self._template.encode(messages)
        require_fits(len(prompt), options.max_new_tokens, self.context_tokens)
        if self._generator is None:
            raise EngineError(f"{self.name} is closed", engine=self.name)
        return self._pieces(prompt, options, cancelled or (lambda: False))

    def close(self) -> None:
        """Stop what runs after its current token, wait for that, and free the weights."""
        self._closed.set()
        for run in list(self._runs):
            run.release()
        self._generator = None

    def _pieces(self, prompt: list[int], options: GenerationOptions, cancelled: Cancelled) -> Iterator[Piece]:
        decoder, stops = TokenDecoder(self._tokenizer), StopFilter(options.stop)
        count = 0

        def last(text: str, logprobs: tuple[float, ...], reason: FinishReason) -> Piece:
            tail = stops.push(decoder.finish()) + stops.flush()
            return Piece(text + tail, logprobs, reason, len(prompt), count)

        run = _Run(self._generator_for(options), self._tokens(prompt), self._arguments(options), self._closed)
        self._runs.add(run)
        try:
            for token_id, logprob, is_last in run.steps(cancelled):
                if token_id in self._end_ids:
                    yield last("", (), "stop")
                    return
                count += 1
                text = stops.push(decoder.push(token_id))
                if stops.stopped or is_last:
                    yield last(text, (logprob,), "stop" if stops.stopped else "length")
                    return
                yield Piece(text, (logprob,))
            yield last("", (), "cancelled")
        except RuntimeError as error:
            raise EngineError(f"{self.name}: {error}", engine=self.name) from error
        finally:
            run.stop()

    def _tokens(self, ids: list[int]) -> list[str]:
        return [cast(str, self._tokenizer.id_to_token(i)) for i in ids]

    def _arguments(self, options: GenerationOptions) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "max_length": options.max_new_tokens,
            "repetition_penalty": options.repetition_penalty,
            "end_token": sorted(self._end_ids),
        }
        if options.temperature < _GREEDY_BELOW:
            return arguments | {"sampling_topk": 1}
        return arguments | {
            "sampling_topk": min(options.top_k, self._tokenizer.get_vocab_size()),
            "sampling_topp": options.top_p,
            "sampling_temperature": options.temperature,
        }

    def _generator_for(self, options: GenerationOptions) -> ctranslate2.Generator:
        """Return the shared generator, or for a seeded draw a new one whose worker thread has taken the seed."""
        if self._generator is None:
            raise EngineError(f"{self.name} is closed", engine=self.name)
        if options.seed is None or options.temperature < _GREEDY_BELOW:
            return self._generator
        import ctranslate2

        with _seeding:
            ctranslate2.set_random_seed(options.seed % _UNSEEDED)
            try:
                generator = self._load()
                generator.generate_batch([self._tokens([0])], max_length=1, sampling_topk=2)
            finally:
                ctranslate2.set_random_seed(_UNSEEDED)
        return generator

    def _load(self) -> ctranslate2.Generator:
        generator = open_generator(self._model_dir, self._card, num_threads=self._num_threads)
        return cast("ctranslate2.Generator", generator)


class _Run:
    """One generation on CTranslate2's worker thread, read from this one.

    The worker's callback knows neither this object nor the generator: whoever drops a generator last waits for its
    worker, and the worker must not wait for itself.
    """

    def __init__(
        self, generator: ctranslate2.Generator, prompt: list[str], arguments: dict[str, Any], closed: threading.Event
    ) -> None:
        arrived: queue.SimpleQueue[tuple[int, float, bool]] = queue.SimpleQueue()
        halted = threading.Event()

        def on_step(step: ctranslate2.GenerationStepResult) -> bool:
            arrived.put((step.token_id, step.log_prob, step.is_last))
            return halted.is_set() or closed.is_set()

        self._arrived, self._halted, self._closed = arrived, halted, closed
        self._has_started = False
        self._generator: ctranslate2.Generator | None = generator
        self._result = generator.generate_batch(
            [prompt],
            asynchronous=True,
            beam_size=1,
            return_scores=True,
            include_prompt_in_result=False,
            callback=on_step,
            **arguments,
        )[0]

    def steps(self, cancelled: Cancelled) -> Iterator[tuple[int, float, bool]]:
        """Yield (token id, log-probability, is the last one); end early when cancelled or closed.

        Raises:
            RuntimeError: CTranslate2 failed.
        """
        while not (cancelled() or self._closed.is_set()):
            try:
                step = self._arrived.get(timeout=_POLL_S)
            except queue.Empty:
                if self._result.done() and self._arrived.empty():
                    self._result.result()  # raises what went wrong
                    return
                continue
            self._has_started = True
            yield step
            if step[2]:
                return

    def stop(self) -> None:
        """Stop the worker after its current token, and wait for that; a run still queued stops when its turn comes."""
        self._halted.set()
        if self._has_started:
            self._result.result()
        self.release()

    def release(self) -> None:
        """Let go of the generator; the last to do so waits until the worker has ended."""
        self._generator = None


@atexit.register
def _close_open_engines() -> None:
    """A worker that needs the interpreter once more after its end would abort the process."""
    for engine in list(_open_engines):
        engine.close()
