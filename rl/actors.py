"""Ray actors: provers, model server, learner, auditor. Each is a thin shell around a part that knows nothing of Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ray

from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.theorem import Theorem, Verdict
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.models.mixture import combine
from prover.models.portfolio import Explorer, Portfolio
from prover.premises.index import LibraryIndex, library_index
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig, to_script
from rl.algorithms.expert_iteration import harvest
from rl.config import ProverConfig


@dataclass(frozen=True)
class Task:
    """A theorem to attempt."""

    theorem: Theorem
    policy: str
    """`portfolio`, `explorer` or `model` (mixed with the explorer)."""
    lean_calls: int
    explorer_weight: float = 0.25
    harvest: int = 0
    """After a proof: so many more tactics tried on the first goal."""
    learn: bool = False
    """Whether the search's examples are wanted. Never for held-out theorems."""
    value: bool = True


@dataclass(frozen=True)
class Found:
    """What came of a task, before the audit."""

    theorem: Theorem
    outcome: str
    lean_calls: int
    calls_to_solve: int | None
    seconds: float
    script: str | None = None
    reason: str = ""
    examples: list[Any] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    model_version: int = 0


class RemoteModel:
    """Policy and Value on a model server: questions that arrive during a call go together in the next one."""

    def __init__(self, server: Any, n: int) -> None:
        self.server = server
        self.n = n
        self.version = 0
        self._asked: dict[str, list[tuple[Query, asyncio.Future[Any]]]] = {"suggest": [], "evaluate": []}
        self._runner: asyncio.Task[None] | None = None

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return await self._ask("suggest", queries)

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return await self._ask("evaluate", queries)

    async def _ask(self, kind: str, queries: Sequence[Query]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in queries]
        self._asked[kind].extend(zip(queries, futures, strict=True))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return list(await asyncio.gather(*futures))

    async def _run(self) -> None:
        await asyncio.sleep(0)
        while any(self._asked.values()):
            suggest, self._asked["suggest"] = self._asked["suggest"], []
            evaluate, self._asked["evaluate"] = self._asked["evaluate"], []
            try:
                answer = await self.server.answer.remote([q for q, _ in suggest], [q for q, _ in evaluate], self.n)
            except Exception as e:
                for _, future in [*suggest, *evaluate]:
                    if not future.done():
                        future.set_exception(e)
                continue
            self.version = answer[2]
            for (_, future), result in zip([*suggest, *evaluate], [*answer[0], *answer[1]], strict=True):
                if not future.done():
                    future.set_result(result)


class ModelWithExplorer:
    """A remote model's suggestions mixed with the explorer's, which is asked here."""

    def __init__(self, model: RemoteModel, explorer: Explorer, weight: float) -> None:
        self.model, self.explorer, self.weight = model, explorer, weight

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        learned = await self.model.suggest(queries, n)
        if self.weight <= 0:
            return learned
        return combine([(learned, 1 - self.weight), (self.explorer.suggest(queries, n), self.weight)], 3 * n)


@ray.remote
class Prover:
    """One Lean process and the searches on it."""

    def __init__(self, config: ProverConfig, seed: int, model_server: Any = None) -> None:
        self.config = config
        limits = Limits(heartbeats=config.heartbeats, seconds=config.step_seconds)
        self.pool = LeanPool(1, limits=limits, constants=True, terse=True)
        self.model = RemoteModel(model_server, config.suggestions)
        self.seed = seed
        self.weights: dict[str, float] = {}
        self._started = False
        self._lock = asyncio.Lock()

    async def _start(self) -> None:
        async with self._lock:
            if not self._started:
                index: LibraryIndex = await asyncio.to_thread(library_index)
                self.premises = PremiseSource(index, self.config.premises)
                self.index = index
                self.explorer = Explorer(index, self.seed, self.config.premises)
                self.trained_explorer = Explorer(index, self.seed, self.config.premises, self.weights or None)
                await self.pool.start()
                self._started = True

    async def ready(self) -> str:
        """Start Lean; its name."""
        await self._start()
        return self.pool.runtime.name

    async def learned(self, weights: dict[str, float]) -> None:
        """Use these template weights beside the model from now on."""
        self.weights = weights
        if self._started:
            self.trained_explorer = Explorer(self.index, self.seed, self.config.premises, weights or None)

    async def attempt(self, task: Task) -> Found:
        """Search for a proof. Never raises: what goes wrong with Lean or the model is the outcome `error`."""
        await self._start()
        began = time.monotonic()
        try:
            return await self._attempt(task, began)
        except LeanError as e:
            return Found(task.theorem, "error", 0, None, time.monotonic() - began, reason=f"open: {e}")
        except Exception as e:  # a worker's fault must not end the run: it is recorded and the theorem comes again
            return Found(task.theorem, "error", 0, None, time.monotonic() - began, reason=f"{type(e).__name__}: {e}")

    async def _attempt(self, task: Task, began: float) -> Found:
        for chance in (1, 2, 3):
            try:
                root = await self.pool.open(task.theorem)
                break
            except LeanDied:
                if chance == 3:
                    raise
        value: Any = None
        in_flight = self.config.in_flight
        if task.policy == "portfolio":
            policy: Any = Portfolio()
            suggestions, in_flight, expansions = 16, 1, 1
        elif task.policy == "explorer":
            policy, suggestions, expansions = self.explorer, 64, 4
        else:
            policy = ModelWithExplorer(self.model, self.trained_explorer, task.explorer_weight)
            suggestions, expansions = self.config.suggestions, 4
            value = self.model if task.value else None  # its methods are coroutines, which a search awaits
        config = SearchConfig(
            in_flight=in_flight, suggestions=suggestions, max_expansions=expansions, model_thread=False, seed=self.seed
        )
        search = Search(
            root, self.pool, policy, value, config=config, premises=self.premises.for_theorem(task.theorem.imports)
        )
        try:
            result = await search.run(Budget(lean_calls=task.lean_calls))
            script = to_script(result.proof) if result.proof is not None else None
            examples = search.examples() if task.learn else []
            if script is not None and task.harvest and task.learn:
                examples = await self._harvest(task, root, examples)
        finally:
            await search.close()
            await self.pool.free([root])
        stats = result.stats
        bound = [name for g in root.goals for name, _ in g.hypotheses] if task.theorem.library is not None else []
        return Found(
            task.theorem,
            result.outcome,
            result.lean_calls,
            result.lean_calls_to_solve,
            time.monotonic() - began,
            script,
            result.message or "",
            examples,
            {
                "nodes": stats.nodes,
                "edges": stats.edges,
                "errors": dict(stats.errors),
                "lean_s": round(stats.lean_s, 4),
                "model_s": round(stats.model_s, 4),
                "own_s": round(stats.own_s, 4),
                "bound": bound,
            },
            self.model.version if task.policy == "model" else 0,
        )

    async def _harvest(self, task: Task, root: Any, examples: list[Any]) -> list[Any]:
        """Other tactics that close the first goal at once: all of them teach, not only the first one found."""
        if not examples:
            return examples
        first = examples[0]
        known = {t for t, _ in first.best} | {t for t, _ in first.errors}
        offered = self.premises.for_theorem(task.theorem.imports)(root)
        query = Query(root, offered)
        tactics = [s.tactic for s in Portfolio().suggest([query], 16)[0]]
        tactics += [s.tactic for s in self.explorer.suggest([query], 3 * task.harvest)[0]]
        fresh = [t for t in dict.fromkeys(tactics) if t not in known][: task.harvest]
        results = await self.pool.step(root, fresh)
        closing = [(t, 1) for t, r in zip(fresh, results, strict=True) if r.solved]
        await self.pool.free([s for r in results for s in r.states])
        best = tuple(sorted([*first.best, *closing], key=lambda p: p[1]))
        return [replace(first, best=best, steps=best[0][1]), *examples[1:]]

    async def counters(self) -> dict[str, float]:
        """Steps, seconds in Lean, restarts and memory so far."""
        servers = self.pool.servers
        return {
            "steps": self.pool.steps,
            "lean_s": self.pool.lean_s,
            "restarts": sum(s.counters.restarts for s in servers),
            "rss_mb": sum(s.rss_mb() for s in servers),
        }

    async def close(self) -> None:
        await self.pool.close()


@ray.remote
class AuditActor:
    """The audit's processes, apart from the provers'."""

    def __init__(self) -> None:
        self.auditor = Auditor()

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        return await self.auditor.audit(theorem, script)

    async def close(self) -> None:
        await self.auditor.close()


@ray.remote
class ModelServer:
    """Serves the current weights."""

    def __init__(self, folder: str | None, threads: int) -> None:
        from prover.models.transformer import LanguageModelPolicy

        self.threads = threads
        self.policy = LanguageModelPolicy.load(folder, threads=threads) if folder else None
        self.queries = 0
        self.seconds = 0.0

    def load(self, folder: str, version: int) -> int:
        """Serve a checkpoint folder under a version number; the version served."""
        from prover.models.transformer import LanguageModelPolicy

        self.policy = LanguageModelPolicy.load(folder, threads=self.threads)
        self.policy.version = version
        return version

    def update(self, weights: dict[str, Any], version: int) -> int:
        """Put new weights under the served model; the version served."""
        assert self.policy is not None
        self.policy.load_weights(weights, version)
        return version

    def answer(
        self, suggest: list[Query], evaluate: list[Query], n: int
    ) -> tuple[list[list[Suggestion]], list[ValueEstimate], int]:
        """Suggestions and values, with the version of the weights that gave them."""
        if self.policy is None:
            raise RuntimeError("no model is loaded yet")
        began = time.monotonic()
        suggestions = self.policy.suggest(suggest, n) if suggest else []
        values = self.policy.evaluate(evaluate) if evaluate else []
        self.queries += len(suggest) + len(evaluate)
        self.seconds += time.monotonic() - began
        return suggestions, values, self.policy.version

    def counters(self) -> dict[str, float]:
        return {"queries": self.queries, "seconds": self.seconds}


@ray.remote
class LearnerActor:
    """Owns the model being trained, its optimizer and their checkpoints."""

    def __init__(self, folder: str, model: dict[str, Any], learn: dict[str, Any], seed: int) -> None:
        self.folder = Path(folder)
        self.model_config, self.learn_config, self.seed = model, learn, seed
        self.learner: Any = None
        self.version = 0

    def _make(self, texts: list[str]) -> None:
        from prover.models.learner import Learner, LearnerConfig
        from prover.models.prompt import PromptConfig
        from prover.models.tokenizer import train_tokenizer
        from prover.models.transformer import new_model

        m = self.model_config
        tokenizer = train_tokenizer(texts, m["vocabulary"])
        model = new_model(
            len(tokenizer), m["hidden"], m["layers"], m["heads"], m["intermediate"], positions=512, seed=self.seed
        )
        self.learner = Learner(
            model, tokenizer, PromptConfig(max_prompt=m["max_prompt"], max_premises=m["premises"], premise_tokens=6),
            LearnerConfig(**self.learn_config, seed=self.seed),
        )  # fmt: skip

    def resume(self) -> int:
        """Go on from the newest checkpoint; its version, 0 if there is none."""
        import torch

        from prover.models.learner import Learner, LearnerConfig
        from prover.models.transformer import LanguageModelPolicy

        folders = sorted(p for p in self.folder.glob("[0-9]*") if (p / "learner.pt").exists())
        if folders:
            policy = LanguageModelPolicy.load(folders[-1])
            config = LearnerConfig(**self.learn_config, seed=self.seed)
            self.learner = Learner(policy.model.train(), policy.tokenizer, policy.prompter.config, config)
            self.learner.load_state_dict(torch.load(folders[-1] / "learner.pt", weights_only=False))
            self.version = int(folders[-1].name)
        return self.version

    def learn(self, policy: list[Any], value: list[Any], seconds: float) -> tuple[dict[str, float], str, int]:
        """Train, save a checkpoint; (metrics, checkpoint folder, version)."""
        import torch

        from prover.models.transformer import save_folder

        if self.learner is None:
            self._make([e.state for e in policy] + [e.tactic for e in policy] * 3)
        assert self.learner is not None
        metrics = self.learner.train([*policy, *value], seconds=seconds)
        self.version += 1
        target = self.folder / f"{self.version:06d}"
        settings = {"version": self.version, "prompt": asdict(self.learner.prompter.config)}
        save_folder(target, self.learner.model, self.learner.tokenizer, settings)
        scratch = target / "learner.tmp"
        torch.save(self.learner.state_dict(), scratch)
        scratch.rename(target / "learner.pt")
        return metrics, str(target), self.version


def ledger_examples(found: Found, proved: bool) -> list[tuple[str, dict[str, Any]]]:
    """What the ledger keeps of a search's examples."""
    return list(harvest(found.examples, proved))
