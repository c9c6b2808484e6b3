"""Tokens that answers took, noted where a back end learns it and asked for once by the search, whose budget they count against."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

from prover.models.base import Query, Suggestion, estimate_tokens

KEPT = 4096
"""Queries remembered at most: who never asks, as a measurement or a run's model server, must not fill memory."""
AT_ONCE = 64
"""Answers to one query remembered at most, likewise."""


class TokenCounts:
    """Tokens by query, first noted, first asked for. Safe to call from several threads."""

    def __init__(self) -> None:
        self._noted: OrderedDict[tuple[str, int], deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, query: Query, tokens: int) -> None:
        """An answer to `query` took so many tokens, read and written."""
        with self._lock:
            self._noted.setdefault(_key(query), deque(maxlen=AT_ONCE)).append(tokens)
            if len(self._noted) > KEPT:
                self._noted.popitem(last=False)

    def count(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
        """What the oldest answer not yet asked for took; characters / 4 where nothing is noted."""
        with self._lock:
            noted = self._noted.get(_key(query))
            if not noted:
                return estimate_tokens(query, suggestions)
            tokens = noted.popleft()
            if not noted:
                del self._noted[_key(query)]
            return tokens


def _key(query: Query) -> tuple[str, int]:
    return query.state.text, query.attempt
