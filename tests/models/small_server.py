"""A small OpenAI-like completions server with scripted answers. tests/vllm uses the real vLLM."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]


class SmallServer(ThreadingHTTPServer):
    """Answers with what `replies` gives for the number of the request, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.page = ""
        """What it shows to those who ask for its models, instead of them: HTML."""
        self.without_end = ""
        """`large`: answers without an end; `slow`: a byte now and then; `packed`: few bytes that stand for many."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: SmallServer

    def do_GET(self) -> None:
        if self.server.page:
            return self._send(200, self.server.page)
        self._send(200, {"object": "list", "data": [{"id": "only", "object": "model", "created": 0, "owned_by": "t"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **body})
        if self.server.without_end:
            return self._without_end()
        self._send(*self.server.reply(len(self.server.asked), body))

    def _without_end(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if self.server.without_end == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if self.server.without_end == "packed":
                self.wfile.write(gzip.compress(b" " * (1 << 24)))
            while self.server.without_end in ("large", "slow"):
                self.wfile.write(b" " * (1 << 16 if self.server.without_end == "large" else 1))
                self.wfile.flush()
                time.sleep(0.0 if self.server.without_end == "large" else 0.1)
        except OSError:
            pass  # the client has had enough

    def _send(self, status: int, document: Any) -> None:
        data = (
            document
            if isinstance(document, bytes)
            else document.encode()
            if isinstance(document, str)
            else json.dumps(document).encode()
        )
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def completion(texts: list[str], logprobs: bool = True, finish: str = "stop") -> Reply:
    choices = [
        {
            "index": i,
            "text": t,
            "finish_reason": finish,
            "logprobs": {
                "tokens": [t, ""],
                "token_logprobs": [-0.5 * (i + 1), -0.25],
                "top_logprobs": None,
                "text_offset": [],
            }
            if logprobs
            else None,
        }
        for i, t in enumerate(texts)
    ]
    return 200, {"id": "x", "object": "text_completion", "created": 0, "model": "only", "choices": choices}
