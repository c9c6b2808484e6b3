"""An HTTP client whose answers have an end: no server can fill this machine's memory, or keep a search waiting byte by byte."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

MAX_ANSWER_BYTES = 64 * 2**20


class ResponseLimitError(Exception):
    """An answer is too large, or takes too long. The message says which."""


def limit_responses(client: Any, seconds: float) -> Any:
    """Bound every answer of an httpx client (or one of a fork's): in bytes, and in seconds from its first byte.

    Answers come uncompressed; the client raises ResponseLimitError.
    """

    def bound(response: Any) -> None:
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise ResponseLimitError(
                "its answer is compressed, which it was asked not to do: a few bytes of that may stand for any number"
            )
        response.stream = _bounded(response.stream, seconds)

    client.headers["Accept-Encoding"] = "identity"
    client.event_hooks = {**client.event_hooks, "response": [bound]}
    return client


def _bounded(stream: Any, seconds: float) -> Any:
    """The stream, up to a number of bytes and of seconds. The client looks for its own kind of stream."""

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
