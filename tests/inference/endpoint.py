"""A real HTTP server on this machine that answers like an OpenAI-compatible endpoint, or as badly as one can."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORD = re.compile(r"\s*\S+")


class Endpoint:
    """Says the last message again, word by word; `mode` picks a fault.

    Modes: ok; whole (no streaming); no_logprobs (refuses that field); slow (silent until `release`); slow_middle;
    slow_header (byte by byte until `release`); garbage; html; wrong_fields; error_event; truncated; huge_line; 500;
    401; and three that go on until `release` without a word: alive (comments), alive_whole (a document of blanks),
    alive_503 (a refusal); huge_whole; endless (knows no max_tokens).
    """

    def __init__(self, mode: str = "ok") -> None:
        self.mode = mode
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        self.was_left = threading.Event()  # in the middle of an answer
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def location(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1#echo"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                endpoint.headers.append(dict(self.headers))
                try:
                    endpoint._answer(self, body)
                except (BrokenPipeError, ConnectionResetError):  # the client has gone, as some tests want
                    endpoint.was_left.set()

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        if handler.path != "/v1/chat/completions":
            return _reply(handler, 404, "text/plain", b"no such path")
        if self.mode in ("500", "401"):
            key = handler.headers.get("Authorization", "")
            return _reply(handler, int(self.mode), "application/json", f'{{"error": "refused {key}"}}'.encode())
        if self.mode == "no_logprobs" and "logprobs" in body:
            return _reply(handler, 400, "application/json", b'{"error": "logprobs is not supported"}')
        if self.mode == "html":
            return _reply(handler, 200, "text/html", b"<html><body>Welcome to the hotel network</body></html>")
        if self.mode == "slow":
            self.release.wait(30)
            return None
        if self.mode == "slow_header":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
            while not self.release.wait(0.01):
                handler.wfile.write(b"x")
            return None
        if self.mode.startswith("alive"):
            is_whole = self.mode == "alive_whole"
            block = b" " if is_whole else b": still here\n\n"
            blocks = (block for _ in range(300) if not self.release.wait(0.01))
            status = 503 if self.mode == "alive_503" else 200
            return _send(handler, status, "application/json" if is_whole else "text/event-stream", blocks)
        if self.mode == "huge_whole":
            return _send(handler, 200, "application/json", (b" " * 65536 for _ in range(4096)))
        events = _events(body, logprobs="logprobs" in body)
        if self.mode == "whole":
            return _reply(handler, 200, "application/json", json.dumps(_whole(events)).encode())
        return _send(handler, 200, "text/event-stream", self._blocks(events))

    def _blocks(self, events: list[dict[str, Any]]) -> Any:
        sent = [b": hello\n\n", *(f"data: {json.dumps(e)}\r\n\r\n".encode() for e in events), b"data: [DONE]\n\n"]
        if self.mode == "garbage":
            return [b"data: {this is not json\n\n"]
        if self.mode == "wrong_fields":
            return [b'data: {"answer": 42}\n\n']
        if self.mode == "error_event":
            return [*sent[:2], b'data: {"error": {"message": "out of memory"}}\n\n']
        if self.mode == "truncated":
            return sent[:2]
        if self.mode == "endless":
            return itertools.islice(itertools.cycle(sent[2:3]), 20_000)
        if self.mode == "huge_line":
            return (b"data: " if i == 0 else b"x" * 65536 for i in range(64))
        if self.mode == "slow_middle":
            return (block for i, block in enumerate(sent) if i < 2 or self.release.wait(30))
        return sent


def _events(body: dict[str, Any], *, logprobs: bool) -> list[dict[str, Any]]:
    words = WORD.findall(body["messages"][-1]["content"])
    shown = words[: body["max_tokens"]]
    events = [_event({"role": "assistant", "content": ""}, None, None)]
    for word in shown:
        odds = {"content": [{"token": word, "logprob": -0.1}]} if logprobs else None
        events.append(_event({"content": word}, odds, None))
    events.append(_event({}, None, "stop" if shown == words else "length"))
    if "stream_options" in body:
        prompt = sum(1 + len(WORD.findall(m["content"])) for m in body["messages"])
        events.append({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": len(shown)}})
    return events


def _event(delta: dict[str, Any], logprobs: Any, finish_reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _whole(events: list[dict[str, Any]]) -> dict[str, Any]:
    choices = [e["choices"][0] for e in events if e["choices"]]
    text = "".join(c["delta"].get("content", "") for c in choices)
    return {"choices": [{"message": {"content": text}, "finish_reason": choices[-1]["finish_reason"]}]}


def _send(handler: BaseHTTPRequestHandler, status: int, kind: str, blocks: Iterable[bytes]) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.end_headers()
    for block in blocks:
        handler.wfile.write(block)
        handler.wfile.flush()


def _reply(handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
