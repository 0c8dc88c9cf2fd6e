"""Local generation through our own runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import randbits

import numpy as np
import numpy.typing as npt

from ruvllm.errors import EngineError
from ruvllm.inference.chat import ChatTemplate
from ruvllm.inference.constrained import Constraints, TokenConstraint
from ruvllm.inference.decoding import TokenDecoder
from ruvllm.inference.engine import Cancelled, Piece, require_fits, require_messages
from ruvllm.inference.local_model import available_threads, load_tokenizer
from ruvllm.inference.next_tokens import DRAFT_TOKENS, next_tokens
from ruvllm.inference.runtime_model import mean_hidden_states, open_runtime
from ruvllm.inference.session_cache import SessionCache
from ruvllm.inference.shared_steps import SharedSteps
from ruvllm.inference.stops import StopFilter
from ruvllm.kernels import KvType, RuntimeModel, RuntimeSampler, RuntimeSession
from ruvllm.models import read_card
from ruvllm.types import FinishReason, GenerationOptions, Message

__all__ = ["Probe", "RuntimeEngine"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

ANSWERS_AT_ONCE = 8  # each holds a copy of the prompt's cache


@dataclass(frozen=True, slots=True)
class Probe:
    """What a model makes of a prompt before it answers: of its next token the probability of the likeliest, its lead
    over the second, and the entropy in nats; of the prompt itself the mean log-probability of a token."""

    top_probability: float
    margin: float
    entropy: float
    prompt_logprob: float


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a closed engine lets go of, and a stream that still runs holds on to."""

    model: RuntimeModel
    sessions: SessionCache
    steps: SharedSteps


class RuntimeEngine:
    """A decoder on the CPU through our own runtime. Streams from several threads are decoded together.

    A prompt that goes on from an earlier one, as each turn of a conversation does, is read from where they part: the
    caches of past streams are kept, the least recently used are dropped. The repetition penalty covers the generated
    tokens, not the prompt. Log-probabilities are those after the penalty and before temperature, top_k and top_p.

    Where the answer repeats what stands in the prompt or in itself, one pass checks several guessed tokens; the stream
    is the same, bit by bit, as without.

    Args:
        model_dir: a converted model with tokenizer.json and tokenizer_config.json.
        num_threads: cores for one step; 0 takes all.
        context_tokens: the most that prompt and answer together may hold; never more than the model's own.
        kv: type of the caches' keys and values, "float32" or "int8".
        cache_bytes: what the caches of past streams may hold together.
        draft_tokens: guessed for one pass, at most; 0 = none.

    Raises:
        ModelDamaged: a file is missing, truncated or does not fit the others.
        ModelUnsupported: the runtime does not know the architecture, or it has no chat template.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        num_threads: int = 0,
        context_tokens: int = 2048,
        kv: KvType = "float32",
        cache_bytes: int = 256 * 1024 * 1024,
        draft_tokens: int = DRAFT_TOKENS,
    ) -> None:
        card = read_card(model_dir)
        model = open_runtime(model_dir, card, num_threads=available_threads(num_threads))
        self._template = ChatTemplate.from_directory(model_dir)
        self._tokenizer = load_tokenizer(model_dir, card)
        ids = (self._tokenizer.token_to_id(token) for token in card.stop_tokens)
        self._end_ids = frozenset(i for i in ids if i is not None)
        self._num_tokens = self._tokenizer.get_vocab_size()
        self.name = model_dir.name
        self.context_tokens = min(context_tokens, card.context_tokens)
        self.parameters: int | None = card.parameters
        self.size_bytes = (model_dir / "model.bin").stat().st_size
        sessions = SessionCache(model, context_tokens=self.context_tokens, budget_bytes=cache_bytes, kv=kv)
        self._loaded: _Loaded | None = _Loaded(model, sessions, SharedSteps(model))
        self._vocab_size = model.vocab_size
        self._draft_tokens = draft_tokens
        self._constraints: Constraints | None = None
        self._loading = threading.Lock()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the exact length of the rendered prompt."""
        require_messages(messages)
        return len(self._template.encode(messages))

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        """Yield one piece per token; see `Engine.stream`. A wrong request raises here, before the first token."""
        require_messages(messages)
        prompt = np.array(self._template.encode(messages), np.int32)
        require_fits(len(prompt), options.max_new_tokens, self.context_tokens)
        constraint = None if options.json_schema is None else self._constrain(options)
        return self._pieces(self._open(), prompt, options, constraint, cancelled or (lambda: False))

    def probe(self, messages: Sequence[Message], *, max_tokens: int = 64) -> Probe:
        """Return the model's view of a prompt after reading at most its first `max_tokens`; they stay in the cache.

        Raises:
            ValueError: there are no messages, or max_tokens is below 1.
            EngineError: the engine is closed, or memory does not suffice.
        """
        require_messages(messages)
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1 ({max_tokens})")
        loaded = self._open()
        prompt = np.array(self._template.encode(messages), np.int32)[:max_tokens]
        with self._named_errors():
            session = loaded.model.session(context_tokens=self.context_tokens, kv=loaded.sessions.kv)
            logprobs = loaded.model.advance([session], [prompt], want="logprobs")
            logits = session.logits().astype(np.float64)[: self._num_tokens]
            loaded.sessions.give(session)
        likelihood = np.exp(logits - logits.max())
        likelihood /= likelihood.sum()
        second, first = np.partition(likelihood, -2)[-2:]
        entropy = -float(np.sum(likelihood * np.log(np.maximum(likelihood, 1e-300))))
        said = logprobs[1:]
        return Probe(float(first), float(first - second), entropy, float(said.mean()) if len(said) else 0.0)

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """Return the mean log-probability of a token of each answer to one prompt, which is read once for all.

        Raises:
            ValueError: there are no messages, an answer has no tokens, or one does not fit.
            EngineError: the engine is closed, or memory does not suffice.
        """
        require_messages(messages)
        loaded = self._open()
        prompt = np.array(self._template.encode(messages), np.int32)
        ids = [np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32) for text in answers]
        for i, one in enumerate(ids):
            if len(one) == 0:
                raise ValueError(f"answers[{i}] has no tokens")
            require_fits(len(prompt), len(one), self.context_tokens)
        if not ids:
            return []
        means: list[float] = []
        with self._named_errors():
            session = loaded.sessions.take(prompt)
            loaded.model.advance([session], [prompt[session.length :]])
            for first in range(0, len(ids), ANSWERS_AT_ONCE):
                some = ids[first : first + ANSWERS_AT_ONCE]
                logprobs = loaded.model.advance([session.fork() for _ in some], some, want="logprobs")
                ends = np.cumsum([len(one) for one in some])
                means += [float(part.mean()) for part in np.split(logprobs, ends[:-1])]
            loaded.sessions.give(session)
        return means

    def hidden_means(self, texts: Sequence[str]) -> Floats:
        """Return (n, hidden_size) float32: the mean final hidden state of each text, its special tokens included.

        Raises:
            ValueError: a text has no tokens.
            EngineError: the engine is closed, or memory does not suffice.
        """
        loaded = self._open()
        ids = [np.array(self._tokenizer.encode(text).ids[: self.context_tokens], np.int32) for text in texts]
        for i, one in enumerate(ids):
            if len(one) == 0:
                raise ValueError(f"texts[{i}] has no tokens")
        with self._named_errors():
            parts = [ids[i : i + ANSWERS_AT_ONCE] for i in range(0, len(ids), ANSWERS_AT_ONCE)]
            means = [mean_hidden_states(loaded.model, part) for part in parts]
        return np.concatenate(means) if means else np.empty((0, loaded.model.hidden_size), np.float32)

    def cache_nbytes(self) -> int:
        """Return the memory that the caches of past streams hold."""
        loaded = self._loaded
        return 0 if loaded is None else loaded.sessions.nbytes()

    def close(self) -> None:
        """Stop what runs after its current token, and free the caches; the weights go with the last stream."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.sessions.close()

    def _open(self) -> _Loaded:
        loaded = self._loaded
        if loaded is None:
            raise EngineError(f"{self.name} is closed", engine=self.name)
        return loaded

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except MemoryError as error:
            raise EngineError(f"{self.name}: not enough memory", engine=self.name) from error
        except (RuntimeError, ValueError) as error:  # weights that give NaN, a grammar that grew too large
            raise EngineError(f"{self.name}: {error}", engine=self.name) from error

    def _constrain(self, options: GenerationOptions) -> TokenConstraint:
        assert options.json_schema is not None
        with self._loading:
            if self._constraints is None:
                self._constraints = Constraints(self._tokenizer, vocab_size=self._vocab_size, end_ids=self._end_ids)
        return self._constraints.json_schema(options.json_schema)

    def _pieces(
        self,
        loaded: _Loaded,
        prompt: Ids,
        options: GenerationOptions,
        constraint: TokenConstraint | None,
        cancelled: Cancelled,
    ) -> Iterator[Piece]:
        decoder, stops = TokenDecoder(self._tokenizer), StopFilter(options.stop)
        count = 0

        def last(text: str, logprobs: tuple[float, ...], reason: FinishReason) -> Piece:
            tail = stops.push(decoder.finish()) + stops.flush()
            return Piece(text + tail, logprobs, reason, len(prompt), count)

        session: RuntimeSession | None = None
        try:
            with self._named_errors():
                session = loaded.sessions.take(prompt)
                tokens = next_tokens(
                    loaded.steps,
                    session,
                    prompt,
                    self._sampler(options),
                    max_tokens=options.max_new_tokens,
                    constraint=constraint,
                    draft_tokens=self._draft_tokens,
                    is_over=lambda: cancelled() or self._loaded is None,
                )
                with closing(tokens):
                    for token_id, logprob in tokens:
                        if token_id in self._end_ids:
                            yield last("", (), "stop")
                            return
                        count += 1
                        text = stops.push(decoder.push(token_id))
                        is_complete = False
                        if constraint is not None:
                            constraint.accept(token_id)
                            is_complete = constraint.is_finished
                        if stops.stopped or is_complete or count == options.max_new_tokens:
                            yield last(text, (logprob,), "stop" if stops.stopped or is_complete else "length")
                            return
                        yield Piece(text, (logprob,))
                    yield last("", (), "cancelled")
        finally:
            if session is not None:
                loaded.sessions.give(session)

    def _sampler(self, options: GenerationOptions) -> RuntimeSampler:
        return RuntimeSampler(
            limit=self._num_tokens,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            min_p=options.min_p,
            repetition_penalty=options.repetition_penalty,
            seed=randbits(64) if options.seed is None else options.seed,
        )
