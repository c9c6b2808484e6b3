"""Requests of many searches are computed together, whatever the others do; weights change between them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sample_goals import make_pairs, query
from test_weights import learn

from prover.models.backends.agreement import value_difference

QUERIES = [query(g) for g, _ in make_pairs(16, seed=3)]
MANY = [query(g) for g, _ in make_pairs(160, seed=5)]


def far(found: Any, expected: Any) -> float:
    return max(abs(x - y) for x, y in zip(found.probs, expected.probs, strict=True))


def test_more_than_a_hundred_searches_share_the_engine(served: Any, reference: Any) -> None:
    async def ask() -> list[Any]:
        return await asyncio.gather(*(served.answer([q], [q], 2) for q in MANY))

    found = asyncio.run(ask())
    assert served.engine.most_under_way >= 128
    # A sample that does not end in time is none.
    assert sum(bool(tactics[0]) for tactics, _ in found) > 100 and max(len(t[0]) for t, _ in found) == 2
    expected = reference.evaluate(MANY)
    assert max(far(values[0], e) for (_, values), e in zip(found, expected, strict=True)) < 1e-2


def test_sixteen_searches_take_fewer_steps_together_than_in_turn(served: Any) -> None:
    async def together() -> None:
        await asyncio.gather(*(served.answer([q], [], 4) for q in QUERIES))

    async def in_turn() -> None:
        for q in QUERIES:
            await served.answer([q], [], 4)

    steps = []
    for way in (together, in_turn):
        before = served.engine.steps
        asyncio.run(way())
        steps.append(served.engine.steps - before)
    assert 4 * steps[0] < steps[1], steps


def test_a_cancelled_search_frees_the_engine_of_its_requests(served: Any) -> None:
    async def ask() -> list[Any]:
        kept = asyncio.ensure_future(served.answer(QUERIES[:4], [], 4))
        dropped = [asyncio.ensure_future(served.answer([q], [q], 8)) for q in MANY]
        await asyncio.sleep(0)  # the requests are with the engine
        for one in dropped:
            one.cancel()
        tactics, _ = await kept
        assert all(
            isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*dropped, return_exceptions=True)
        )
        return tactics

    assert all(asyncio.run(ask()))
    served.engine.alone(lambda: None)
    assert served.llm.llm_engine.get_num_unfinished_requests() == 0


def test_requests_under_way_end_with_the_weights_they_began_with(served: Any, reference: Any) -> None:
    old = reference.evaluate(MANY)
    weights = learn(reference).weights()
    waiting = [served.engine.submit(*r) for r in zip(*served._value_requests(MANY), strict=True)]
    loading = threading.Thread(target=served.load_weights, args=(weights, 2))
    loading.start()
    outputs = [f.result() for f in waiting]
    loading.join()
    assert served.version == 2
    found = [served._estimate(q, o) for q, o in zip(MANY, outputs, strict=True)]
    assert max(far(f, e) for f, e in zip(found, old, strict=True)) < 1e-2
    reference.load_weights(weights, 2)
    assert value_difference(reference, MANY, served) < 1e-2
    assert max(far(f, e) for f, e in zip(reference.evaluate(MANY), old, strict=True)) > 0.05


def test_a_prompt_that_is_rejected_leaves_the_others(served: Any) -> None:
    [prompt, *_], [params, *_] = served._value_requests(QUERIES[:1])
    too_long = served.engine.submit({"prompt_token_ids": [20] * 4000}, params)
    right = served.engine.submit(prompt, params)
    with pytest.raises(ValueError, match="4000"):
        too_long.result()
    assert right.result().finished
