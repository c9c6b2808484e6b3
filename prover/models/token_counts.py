"""Token counts of answers. A back end records them, and the search reads each once for its budget."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

from prover.models.base import Query, Suggestion, estimate_tokens

MAX_QUERIES = 4096
"""Maximum number of queries remembered, because some callers never read the counts."""
MAX_ANSWERS = 64
"""Maximum number of answers remembered per query."""


class TokenCounts:
    """Tokens per query, first in, first out. Thread-safe."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[tuple[str, int, str], deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def record(self, query: Query, tokens: int) -> None:
        """Record the tokens, read and written, of an answer to `query`."""
        with self._lock:
            self._recorded.setdefault(_key(query), deque(maxlen=MAX_ANSWERS)).append(tokens)
            if len(self._recorded) > MAX_QUERIES:
                self._recorded.popitem(last=False)

    def count(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
        """Remove and return the oldest count for `query`, or return `estimate_tokens` if there is none."""
        with self._lock:
            recorded = self._recorded.get(_key(query))
            if not recorded:
                return estimate_tokens(query, suggestions)
            tokens = recorded.popleft()
            if not recorded:
                del self._recorded[_key(query)]
            return tokens


def _key(query: Query) -> tuple[str, int, str]:
    return query.state.text, query.attempt, query.towards
