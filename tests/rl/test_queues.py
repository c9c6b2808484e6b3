"""The tasks that wait for a prover: none is lost or given twice, and an idle prover takes from the longest queue."""

from __future__ import annotations

import random

from prover.lean.theorem import Theorem
from rl.actors.queues import TaskQueues
from rl.attempt import Task


def tasks(n: int) -> list[Task]:
    return [Task(Theorem(f"t{i}", ": True"), "explorer", 8) for i in range(n)]


def name(task: Task | None) -> str:
    assert task is not None
    return task.theorem.name


def test_a_prover_takes_its_own_tasks_in_order_and_then_the_last_one_of_the_longest_queue():
    queues = TaskQueues(tasks(8), [5, 7])
    assert [name(queues.next(5)) for _ in range(4)] == ["t0", "t1", "t2", "t3"]
    assert [name(queues.next(5)), name(queues.next(7)), name(queues.next(5))] == ["t7", "t4", "t6"]
    queues.requeue(tasks(1)[0])
    assert [name(queues.next(7)), name(queues.next(7))] == ["t0", "t5"]
    assert len(queues) == 0 and queues.next(5) is None


def test_every_task_is_given_once_whoever_joins_and_leaves():
    rng = random.Random(1)
    for provers in ([], [0], list(range(12))):
        queues = TaskQueues(tasks(300), provers)
        found = []
        while len(queues):
            task = queues.next(rng.randrange(20))  # some of these joined later, some of the first ones left
            found.append(name(task))
            if rng.random() < 0.1:
                queues.requeue(Task(Theorem(f"again{len(found)}", ": True"), "explorer", 8))
        assert len(set(found)) == len(found) and {f"t{i}" for i in range(300)} <= set(found)


def test_an_idle_prover_takes_from_the_longest_queue():
    queues = TaskQueues(tasks(90), range(3))
    for _ in range(20):
        queues.next(0)
    lengths = []
    for _ in range(50):  # the newcomer
        queues.next(9)
        lengths.append(sorted(len(q) for q in queues._queues.values()))
    assert lengths[-1] == [6, 7, 7] and len(queues) == 20
