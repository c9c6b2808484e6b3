"""A small OpenAI-like completions server that answers what a test says. The real one is vLLM's, in tests/vllm."""

from __future__ import annotations

import json
import threading
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
        self._send(*self.server.reply(len(self.server.asked), body))

    def _send(self, status: int, document: Any) -> None:
        data = document if isinstance(document, bytes) else document.encode() if isinstance(document, str) else json.dumps(document).encode()
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
            "index": i, "text": t, "finish_reason": finish,
            "logprobs": {"tokens": [t, ""], "token_logprobs": [-0.5 * (i + 1), -0.25], "top_logprobs": None, "text_offset": []}
            if logprobs else None,
        }
        for i, t in enumerate(texts)
    ]  # fmt: skip
    return 200, {"id": "x", "object": "text_completion", "created": 0, "model": "only", "choices": choices}
