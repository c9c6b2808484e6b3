"""The model server: calls of many provers are computed together, and none mixes two versions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from prover.lean.theorem import Goal, ProofState
from prover.models.backends.serve import ServeConfig
from prover.models.base import Query
from rl.actors.fleet import Fleet
from rl.actors.model_server import ModelServer, Published
from rl.config import RunConfig
from tests.rl.test_evaluation import make_checkpoint

torch = pytest.importorskip("torch")

QUERIES = [Query(ProofState(i, f"k{i}", (Goal(f"⊢ {i} = {i}", (), f"{i} = {i}"),))) for i in range(24)]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Published:
    """A small model with random weights, as the learner publishes it."""
    from prover.models.prompt import PromptConfig
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import LanguageModelPolicy, new_model

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["⊢ 1 = 1", "rfl", "simp"], 320)
    model = new_model(len(tokenizer), hidden=32, layers=1, heads=2, intermediate=64, positions=128)
    folder = Path(tmp_path_factory.mktemp("model"))
    LanguageModelPolicy(model, tokenizer, PromptConfig(max_prompt=32), version=1).save(folder)
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".safetensors"}
    return Published(1, files, {k: v.clone() for k, v in model.state_dict().items()})


def server() -> object:
    """The actor's class, in this process: what matters here is its event loop."""
    return ModelServer.__ray_metadata__.modified_class(1, ServeConfig())


def test_calls_of_many_provers_are_computed_together(published):
    async def scenario() -> None:
        served = server()
        await served.load(published)
        asked, sizes = served.policy.suggest, []

        def suggest(queries, n):
            sizes.append(len(queries))
            return asked(queries, n)

        served.policy.suggest = suggest
        found = await asyncio.gather(*(served.answer([q], [q], 2) for q in QUERIES))
        assert sum(sizes) == len(QUERIES) and len(sizes) <= 3, sizes
        expected = served.policy.evaluate(QUERIES)
        for (tactics, [value], version), right in zip(found, expected, strict=True):
            assert len(tactics) == 1 and version == 1
            assert max(abs(x - y) for x, y in zip(value.probs, right.probs, strict=True)) < 1e-4
        counters = await served.counters()
        assert counters["queries"] == 2 * len(QUERIES) and counters["seconds"] > 0

    asyncio.run(scenario())


def test_an_answer_is_of_one_version(published):
    async def scenario() -> None:
        served = server()
        await served.load(published)
        old = served.policy.evaluate(QUERIES)
        before = [asyncio.ensure_future(served.answer([], [q], 2)) for q in QUERIES]
        await asyncio.sleep(0)
        changed = Published(2, published.files, {k: 3 * w for k, w in published.weights.items()})
        loading = asyncio.ensure_future(served.load(changed))
        await asyncio.sleep(0)
        after = [asyncio.ensure_future(served.answer([], [q], 2)) for q in QUERIES]
        assert await loading == 2
        new = served.policy.evaluate(QUERIES)
        for asked, expected, version in ((before, old, 1), (after, new, 2)):
            for (_, [value], said), right in zip(await asyncio.gather(*asked), expected, strict=True):
                assert said == version
                assert max(abs(x - y) for x, y in zip(value.probs, right.probs, strict=True)) < 1e-4
        assert max(abs(x - y) for a, b in zip(old, new, strict=True) for x, y in zip(a.probs, b.probs)) > 0.01

    asyncio.run(scenario())


def test_no_model_yet():
    with pytest.raises(RuntimeError, match="no model is loaded yet"):
        asyncio.run(server().answer(QUERIES[:1], [], 2))


@pytest.mark.ray
def test_an_evaluation_survives_its_model_server(local_ray: None, tmp_path: Path) -> None:
    """There is no learner that could publish the checkpoint again."""
    fleet = Fleet(RunConfig(), tmp_path, print, learns=False)
    fleet.connect()
    try:
        fleet.servers = [fleet.server(0)]
        fleet.serve(make_checkpoint(tmp_path / "run"))
        ray.kill(fleet.servers[0])
        fleet.check_servers()
        assert fleet.replaced["model server"] == 1
        assert ray.get(fleet.servers[0].counters.remote())["version"] == 1
    finally:
        fleet.close()


def test_a_server_whose_engine_failed_ends_or_starts_another(published: Published, monkeypatch) -> None:
    """Its callers then see a dead actor, which the fleet replaces. Else every theorem of the round would be recorded as an error."""
    ended: list[bool] = []
    monkeypatch.setattr(ray.actor, "exit_actor", lambda: ended.append(True))

    async def scenario() -> None:
        served = server()
        await served.load(published)

        def fails(queries: list[Query], n: int) -> None:
            raise RuntimeError("the vLLM engine failed earlier (CUDA error); start a new one")

        served.policy.suggest = fails
        with pytest.raises(RuntimeError, match="CUDA error"):
            await served.answer(QUERIES[:1], [], 2)
        assert not ended, "an error of one request"
        served.policy.engine = SimpleNamespace(broken=True)
        with pytest.raises(RuntimeError, match="CUDA error"):
            await served.answer(QUERIES[:1], [], 2)
        assert ended == [True]
        # A new version, published meanwhile, gets a new engine.
        assert await served.load(Published(2, published.files, published.weights)) == 2
        await served.answer(QUERIES[:1], [], 2)
        assert (await served.counters())["engines"] == 2

    asyncio.run(scenario())
