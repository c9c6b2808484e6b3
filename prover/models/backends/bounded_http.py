"""Limits the size and duration of HTTP responses, so that a server cannot exhaust memory or stall a search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

MAX_ANSWER_BYTES = 64 * 2**20


class ResponseLimitError(Exception):
    """A response is compressed, too large, or takes too long."""


def limit_responses(client: Any, seconds: float) -> Any:
    """Limit every response of an httpx client (or a fork's) to MAX_ANSWER_BYTES, uncompressed, and to `seconds` from its
    first byte. The client then raises ResponseLimitError."""

    def bound(response: Any) -> None:
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise ResponseLimitError(
                "its answer is compressed although the request forbids it, so its size cannot be limited"
            )
        response.stream = _bounded(response.stream, seconds)

    client.headers["Accept-Encoding"] = "identity"
    client.event_hooks = {**client.event_hooks, "response": [bound]}
    return client


def _bounded(stream: Any, seconds: float) -> Any:
    """The stream with limits, as a subclass of its own type, which the client requires."""

    class Bounded(type(stream)):
        def __init__(self) -> None:
            pass

        def __iter__(self) -> Iterator[bytes]:
            began, seen = time.monotonic(), 0
            for chunk in stream:
                seen += len(chunk)
                if seen > MAX_ANSWER_BYTES:
                    raise ResponseLimitError(f"its answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
                if time.monotonic() - began > seconds:
                    raise ResponseLimitError(f"its answer was not complete after {seconds:g} s")
                yield chunk

        def close(self) -> None:
            stream.close()

    return Bounded()
