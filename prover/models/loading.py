"""A model that loads in a thread, while Lean starts: torch and transformers take seconds to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from prover.models.base import Query, Suggestion, ValueEstimate, count_tokens

T = TypeVar("T")
_ONE = Lock()


def one_at_a_time(load: Callable[[], T]) -> T:
    """Call `load` under a lock, because a thread may see half of transformers while another one imports it."""
    with _ONE:
        return load()


class LoadingModel:
    """Policy and value of a model that is being loaded. Each method waits for it."""

    def __init__(self, load: Callable[[], Any]) -> None:
        """`load`: returns the model, or raises UserError. Starts at once."""
        thread = ThreadPoolExecutor(1)
        self._model = thread.submit(one_at_a_time, load)
        thread.shutdown(wait=False)

    def wait(self) -> Any:
        """The model. Raises what `load` raised."""
        return self._model.result()

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return self.wait().suggest(queries, n)

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return self.wait().evaluate(queries)

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion]) -> int:
        return count_tokens(self.wait(), query, suggestions)
