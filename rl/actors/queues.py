"""The tasks that wait for a prover."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from rl.attempt import Task


class TaskQueues:
    """A queue of tasks for each prover. The length is the number of tasks that wait.

    Provers take their own tasks in order, so that each loads few environments. A prover without tasks takes the last one of the
    longest queue. The queue of a lost prover stays, and the others empty it in this way.
    """

    def __init__(self, tasks: Sequence[Task], provers: Iterable[int]) -> None:
        """`tasks`: sorted by imports, because consecutive ones go to the same prover."""
        keys = list(provers) or [-1]  # an elastic run before its machines join
        share = -(-len(tasks) // len(keys))
        self._queues = {key: deque(tasks[k * share : (k + 1) * share]) for k, key in enumerate(keys)}
        self._again: deque[Task] = deque()
        self._left = len(tasks)

    def __len__(self) -> int:
        return self._left

    def requeue(self, task: Task) -> None:
        """Queue a task once more, before all others."""
        self._again.append(task)
        self._left += 1

    def next(self, prover: int) -> Task | None:
        """The next task of a prover; None if there is none."""
        if not self._left:
            return None
        self._left -= 1
        if self._again:
            return self._again.popleft()
        if own := self._queues.get(prover):
            return own.popleft()
        return max(self._queues.values(), key=len).pop()
