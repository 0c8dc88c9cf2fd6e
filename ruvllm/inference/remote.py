"""Generation by any OpenAI-compatible endpoint: vLLM, llama.cpp's server, Ollama and their like."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ruvllm.errors import EndpointError, EngineError
from ruvllm.inference.arriving import Line, arriving
from ruvllm.inference.engine import Cancelled, Piece, require_fits, require_messages
from ruvllm.inference.sse import Chunk, Usage, parse_chunk, parse_completion, read_events, read_whole
from ruvllm.inference.stops import StopFilter
from ruvllm.types import FinishReason, GenerationOptions, Message

if TYPE_CHECKING:
    import httpx

__all__ = ["RemoteEngine"]

logger = logging.getLogger(__name__)

_CONNECT_TRIES = 3
_CONNECT_TIMEOUT_S = 5.0
_MAX_STOPS = 4  # what the API accepts; further ones are cut here
_EXCERPT_CHARS = 300
_MAX_TOKEN_CHARS = 256  # more than the longest token of any vocabulary; an answer's mean is about 4
_BYTES_PER_TOKEN = 3  # fewer than any current vocabulary needs on prose or code
_TOKENS_PER_MESSAGE = 8
_EXTRA_FIELDS = {"logprobs": True, "stream_options": {"include_usage": True}}  # some servers refuse them


class RemoteEngine:
    """One model behind an endpoint. Safe to share between threads; nothing is fetched before the first stream.

    Connecting is tried three times; once a byte of the answer has arrived nothing is repeated. Each stream connects
    anew, and waits on a thread of its own: a cancel takes 50 ms, whatever the endpoint does. A `json_schema` is sent as
    a strict `response_format`; whether the endpoint keeps to it is not checked. An answer that cannot be
    `max_new_tokens` tokens any more is cut off: some servers do not know that limit, and some models never end.

    Args:
        location: "http://host:port/v1#model".
        timeout_s: the longest silence before EndpointError.
        context_tokens: what the model accepts, prompt and answer together; the endpoint does not say.
        api_key: sent as a bearer token, shown nowhere.
        backoff_s: pause after the first failed connect, doubled after each further one.

    Raises:
        ValueError: `location` is not of that form, or `api_key` is no value of a header.
    """

    def __init__(
        self,
        location: str,
        *,
        timeout_s: float = 120.0,
        context_tokens: int = 2048,
        api_key: str = "",
        backoff_s: float = 0.25,
    ) -> None:
        import httpx

        base, _, model = location.partition("#")
        try:
            parsed = httpx.URL(base.rstrip("/"))
        except httpx.InvalidURL as error:
            raise ValueError(f"model location is not a URL ({error})") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or not model:
            raise ValueError("model location must look like http://host:port/v1#model")
        if not (api_key.isascii() and api_key.isprintable()):  # else the error of who sends it would quote it
            raise ValueError("api_key must be printable ASCII; is there a line end behind it?")
        self._model = model
        self._url = parsed.copy_with(path=f"{parsed.path.rstrip('/')}/chat/completions")
        self._shown_url = str(self._url.copy_with(userinfo=b""))
        self.name = f"{parsed.copy_with(userinfo=b'')}#{model}"
        self.context_tokens = context_tokens
        self.parameters: int | None = None
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._secrets = tuple(s for s in (api_key, parsed.password) if s)
        self._refuses_extra_fields = False
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            limits=httpx.Limits(max_keepalive_connections=0),  # a line that may be cut is no other request's
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            trust_env=parsed.host not in ("localhost", "127.0.0.1", "::1"),  # a proxy never serves this machine
        )

    def __repr__(self) -> str:
        return f"RemoteEngine({self.name!r})"

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an upper estimate: a token for every 3 bytes of UTF-8, and 8 for every message."""
        require_messages(messages)
        size = sum(math.ceil(len(m.content.encode("utf-8", "replace")) / _BYTES_PER_TOKEN) for m in messages)
        return size + _TOKENS_PER_MESSAGE * len(messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        """Yield the answer as it arrives; see `Engine.stream`. The request is sent when the first piece is asked for.

        Raises:
            EndpointError: the endpoint is down, slow, refuses, or answers something that is not a completion.
        """
        require_messages(messages)
        prompt_tokens = self.count_tokens(messages)
        require_fits(prompt_tokens, options.max_new_tokens, self.context_tokens)
        self._require_open()
        return self._pieces(self._body(messages, options), options, prompt_tokens, cancelled or (lambda: False))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, messages: Sequence[Message], options: GenerationOptions) -> dict[str, Any]:
        """Return the request; what the API does not know by that name goes along only when it is not the default."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
        }
        optional = {
            "stop": list(options.stop[:_MAX_STOPS]) or None,
            "seed": options.seed,
            "top_k": options.top_k or None,
            "min_p": options.min_p or None,
            "repetition_penalty": options.repetition_penalty if options.repetition_penalty != 1.0 else None,
            "response_format": _response_format(options),
        }
        return body | {name: value for name, value in optional.items() if value is not None}

    def _pieces(
        self, body: dict[str, Any], options: GenerationOptions, prompt_tokens: int, cancelled: Cancelled
    ) -> Iterator[Piece]:
        stops, usage, count, chars = StopFilter(options.stop), Usage(prompt_tokens, None), 0, 0
        reason: FinishReason | None = "cancelled" if cancelled() else None
        if reason is None:
            line = Line()
            with closing(arriving(self._chunks(body, line), line, lambda: self._is_wanted(cancelled))) as chunks:
                for chunk in chunks:
                    text = stops.push(chunk.text)
                    count += len(chunk.logprobs) or bool(chunk.text)
                    chars += len(chunk.text)
                    usage = chunk.usage or usage
                    reason = "stop" if stops.stopped else chunk.finish_reason or reason
                    if text or chunk.logprobs:
                        yield Piece(text, chunk.logprobs)
                    if stops.stopped:
                        break
                    if reason is None and cancelled():
                        reason = "cancelled"
                        break
                    if reason is None and chars > _MAX_TOKEN_CHARS * options.max_new_tokens:
                        reason = "length"
                        break
        if reason is None and cancelled():  # while nothing was said
            reason = "cancelled"
        if reason is None:
            self._require_open()
        if reason is None:
            raise self._error("the answer broke off before its end")
        completion_tokens = count if usage.completion_tokens is None else usage.completion_tokens
        yield Piece(stops.flush(), (), reason, usage.prompt_tokens, completion_tokens)

    def _chunks(self, body: dict[str, Any], line: Line) -> Generator[Chunk, None, None]:
        """Yield what the endpoint sends, up to its end-of-stream mark.

        Raises:
            EndpointError: see `stream`.
        """
        import httpx

        try:
            with closing(self._open(body, line)) as response:
                if "json" in response.headers.get("content-type", "").lower():  # the server does not stream
                    yield parse_completion(read_whole(response.iter_bytes()))
                    return
                for data in read_events(response.iter_bytes()):
                    if data == "[DONE]":
                        return
                    yield parse_chunk(data)
        except httpx.TimeoutException as error:
            raise self._error(f"silent for more than {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise self._error(f"the connection failed: {error}") from error
        except ValueError as error:
            raise self._error(f"not an OpenAI-compatible answer: {error}") from error

    def _open(self, body: dict[str, Any], line: Line) -> httpx.Response:
        """Return a successful response whose body is unread."""
        extra = {} if self._refuses_extra_fields else _EXTRA_FIELDS
        response = self._send(body | extra, line)
        if response.status_code in (400, 422) and extra:
            refusal = self._refusal(response)
            response = self._send(body, line)
            if response.is_success:
                logger.debug("%s answers only without %s: %s", self.name, ", ".join(extra), refusal)
                self._refuses_extra_fields = True
        if not response.is_success:
            raise self._refusal(response)
        return response

    def _send(self, body: dict[str, Any], line: Line) -> httpx.Response:
        import httpx

        for left in range(_CONNECT_TRIES - 1, -1, -1):
            self._require_open()
            request = self._client.build_request("POST", self._url, json=body, extensions={"trace": line.trace})
            try:
                return self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if not left or line.is_cut:
                    raise self._error(f"cannot be reached: {error}") from error
                time.sleep(self._backoff_s * 2 ** (_CONNECT_TRIES - 1 - left))
        raise AssertionError("unreachable")

    def _refusal(self, response: httpx.Response) -> EndpointError:
        with closing(response):
            excerpt = b""
            for block in response.iter_bytes():
                excerpt += block
                if len(excerpt) >= 4 * _EXCERPT_CHARS:
                    break
        text = " ".join(excerpt.decode("utf-8", "replace").split())[:_EXCERPT_CHARS]
        return self._error(f"answered {response.status_code}: {text or 'no reason given'}", response.status_code)

    def _is_wanted(self, cancelled: Cancelled) -> bool:
        return not (cancelled() or self._client.is_closed)

    def _require_open(self) -> None:
        if self._client.is_closed:
            raise EngineError(f"{self.name} is closed", engine=self.name)

    def _error(self, what: str, status: int | None = None) -> EndpointError:
        for secret in self._secrets:
            what = what.replace(secret, "***")
        return EndpointError(f"{self._shown_url} {what}", url=self._shown_url, status=status)


def _response_format(options: GenerationOptions) -> dict[str, Any] | None:
    if options.json_schema is None:
        return None
    schema = {"name": "answer", "schema": dict(options.json_schema), "strict": True}
    return {"type": "json_schema", "json_schema": schema}
