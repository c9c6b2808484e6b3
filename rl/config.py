"""The configuration of a run: typed, documented, read from TOML, overridden on the command line, saved with the run."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from curricula.sampler import MatchConfig
from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, read_file
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.models.backends.serve import ServeConfig
from prover.models.mixture import EXPLORER_WEIGHT
from prover.solve.ledger import FORMAT
from rl.rewards import RewardsConfig
from rl.rewards import check as check_rewards

LEAST_VOCABULARY = 293
"""Bytes and special tokens (prover/models/tokenizer.py, which takes seconds to import)."""
LEAST_PROMPT = 16
"""Tokens in which something of a goal can be shown."""
MOST_PREMISES = 16
"""Slot tokens of a vocabulary."""


@dataclass(frozen=True)
class TheoremsConfig:
    """What to learn on and what to measure on."""

    modules: tuple[str, ...] = ()
    """Library modules; empty: the demonstration's (curricula/library.py), or none where there are files."""
    files: tuple[str, ...] = ()
    """`.jsonl` files, and `.lean` files whose theorems end in `sorry`. A hash of its name says what a theorem is for: seven tenths are
    learned on, two tenths held out, one tenth is for validation."""
    per_module: int = 40
    """At most so many training theorems of a module."""
    held_out_per_module: int = 18
    """At most so many held-out theorems of a module."""
    limit: int | None = None
    """At most so many training theorems in all; those of files come first."""
    held_out_limit: int | None = 300
    """At most so many held-out theorems in all; likewise."""


@dataclass(frozen=True)
class ProverConfig:
    """The provers: processes, limits, search."""

    provers: int = 2
    """Prover actors, each with one Lean process."""
    concurrent: int = 5
    """Searches that a prover has under way at once, so that Lean and the model both have work."""
    in_flight: int = 2
    """Walks in flight in one search."""
    suggestions: int = 16
    """Tactics asked of the model at each expansion."""
    explorer_weight: float = EXPLORER_WEIGHT
    """Share of the explorer in the mixture with the model, while collecting."""
    eval_explorer_weight: float = EXPLORER_WEIGHT
    """The same, while measuring."""
    premises: int = 8
    """Premises offered for each goal."""
    retriever: Literal["symbols", "bm25", "symbols+bm25", "dense", "hybrid"] = "symbols"
    """What picks them; `dense` and `hybrid` learn from audited proofs, and begin as `symbols`."""
    heartbeats: int = SEARCH_HEARTBEATS
    """Limit of a step, in thousands of small allocations (Lean's maxHeartbeats)."""
    step_seconds: float = 10.0
    """Wall-clock limit of a step."""
    use_value: bool = True
    """Let the model's value guide the search."""
    use_ranker: bool = True
    """Learn an order of tactics from all that was tried, and search by it."""


@dataclass(frozen=True)
class ModelConfig:
    """The model from nothing."""

    hidden: int = 192
    layers: int = 4
    heads: int = 6
    intermediate: int = 512
    vocabulary: int = 1024
    max_prompt: int = 88
    """Tokens of a prompt, counted from its end."""
    premise_types: bool = False
    """Show premises by what they say, not by the end of their names. Needs some 24 `premise_tokens` and a `max_prompt` to match."""
    premise_tokens: int = 6
    """Tokens shown of one premise; all premises together take at most 3/5 of the prompt."""


@dataclass(frozen=True)
class LearnConfig:
    """Rounds of collecting and learning."""

    algorithm: Literal["expert_iteration", "grpo"] = "expert_iteration"
    """How the policy learns from the second round on; the first is always expert iteration on what the explorer found."""
    value: Literal["monte_carlo", "td_lambda", "none"] = "monte_carlo"
    """How the value learns; `none`: neither learned nor used."""
    collect: Literal["search", "rollouts"] = "search"
    """Where attempts come from after the first round: the search, or whole rollouts sampled from the policy."""
    targets: Literal["proofs", "visits"] = "proofs"
    """Expert iteration's policy targets: the tactics that start a proof, or the search's visit counts on proved goals."""
    rounds: int = 3
    """Rounds of search and learning."""
    first_calls: int = 20
    """Lean calls a theorem in the first round, which the explorer does alone unless there is a pretrained model."""
    calls: int = 16
    """Lean calls a theorem in later rounds: times the number of theorems, it is what the matchmaker spends in a round."""
    group: int = 8
    """Rollouts of one theorem, when collecting by rollouts."""
    max_tactics: int = 12
    """Longest rollout."""
    harvest: int = 12
    """After a theorem's first proof: so many more tactics tried on its first goal, for other ways to close it."""
    seconds: float = 60.0
    """Time for learning in each round; on a CPU processor time, so that a busy machine takes longer and learns the same."""
    max_epochs: float = 0.0
    """Most passes over what a round learns from; 0: as many as the time allows, for a pretrained model three. `grpo` usually makes few:
    the further the policy goes from the one that was sampled, the more of its gradient is clipped away."""
    learning_rate: float = 1e-3
    warmup: int = 20
    """Steps until the full learning rate."""
    clip_norm: float = 1.0
    """Largest norm of a gradient."""
    kl: float = 0.0
    """Weight of KL(policy || the policy before this round) a token; for `grpo` 0.04 is usual."""
    ema: float = 0.0
    """Decay of the weight average that is published; 0: none."""
    lambda_: float = 0.7
    """λ of `td_lambda`."""
    fresh_names: float = 0.3
    """Probability that a goal is seen under made-up names in training, by the model from nothing and by the ranker: so that they
    learn what holds in any library, beside what they learn of these names."""
    ranker_seconds: float = 30.0
    """Time for the ranker of tactics in each round; likewise."""
    retriever_seconds: float = 15.0
    """Time for the retriever in each round, where it learns; likewise."""
    batch_tokens: int = 384
    value_weight: float = 1.0
    """A goal's value counts as this many tokens of a tactic, times the example's own weight."""
    threads: int = 2
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is for GPUs, and CPUs with AMX."""
    keep: int = 0
    """The newest so many checkpoints are kept; 0: all of them. A pretrained model's are large."""
    ranks: int = 1
    """Learner processes, each on its own device, gradients averaged (data parallel)."""
    shard: bool = False
    """Split a pretrained model and its optimizer over those processes (FSDP), where one device cannot hold them."""


@dataclass(frozen=True)
class ReplayConfig:
    """What the learner draws from."""

    capacity: int = 100_000
    """Most examples of a kind in memory."""
    on_disk: int = 300_000
    """Most examples of a kind kept in the ledger after a round, where one takes one to five kilobytes."""
    prioritised: bool = True
    """False: all alike (the baseline that an ablation needs)."""
    exponent: float = 0.6
    """Priorities to this power; 0 is uniform (Schaul et al. 2016)."""
    half_life: float = 4.0
    """An example's priority halves with so many versions of the model."""


@dataclass(frozen=True)
class RayConfig:
    """Where actors run. Locally everything starts by itself; on a cluster, start Ray on each machine with
    `ray start --address=HEAD --resources='{"prover": 4}'`, and provers come and go with the machines."""

    address: str = ""
    """An existing cluster (`auto`, or host:port); empty: a local one for this run."""
    elastic: bool = False
    """Follow the cluster's `prover` resources instead of `prover.provers`."""
    model_servers: int = 1
    """Copies of the model; each prover asks one of them."""
    server_gpus: float = 0.0
    """GPUs of a model server."""
    learner_gpus: float = 0.0
    """GPUs of a learner process."""
    audits: int = 32
    """Most proofs waiting for the audit; beyond that no new search starts."""


@dataclass(frozen=True)
class EvalConfig:
    """Measuring on held-out theorems."""

    calls: int = 64
    """Lean calls a theorem; curves are for 1, 2, 4 … this."""
    baselines: bool = True
    """Measure too what learns nothing: the portfolio, the explorer with its templates all alike, the explorer."""
    validation: int = 0
    """After each round: the trained prover on so many theorems of the validation split, the same ones every time."""
    validation_calls: int = 16
    """Lean calls for each of them."""
    rollouts: int = 0
    """At the end: so many rollouts without search of each held-out theorem, for pass@k; 0: none."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str = "demonstration"
    """Its folder is `runs/NAME`."""
    runs: str = "runs"
    seed: int = 0
    max_minutes: float = 60.0
    """Rounds after the third that would begin later than this are left out; measuring is not."""
    theorems: TheoremsConfig = field(default_factory=TheoremsConfig)
    prover: ProverConfig = field(default_factory=ProverConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    learn: LearnConfig = field(default_factory=LearnConfig)
    matchmaker: MatchConfig = field(default_factory=MatchConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)

    @property
    def folder(self) -> Path:
        return Path(self.runs) / self.name


def load(path: Path) -> RunConfig:
    """Read a TOML file. Raises UserError naming file, table and key for anything that does not fit."""
    try:
        data = tomllib.loads(read_file(path, MAX_SETTINGS_BYTES).decode())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not TOML: {e}") from None
    data.pop("format", None)
    return _fill(RunConfig(), data, str(path))


def _fill(base: Any, data: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(base)}
    changes: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise UserError(f"{where}: unknown setting {key!r}; there are {', '.join(known)}")
        current = getattr(base, key)
        if is_dataclass(current):
            if not isinstance(value, dict):
                raise UserError(f"{where}: [{key}] must be a table")
            changes[key] = _fill(current, value, f"{where}: [{key}]")
        elif isinstance(current, tuple):
            if not isinstance(value, list):
                raise UserError(f"{where}: {key} must be a list")
            changes[key] = tuple(value)
        elif current is not None and type(value) not in _accepts(current):
            raise UserError(f"{where}: {key} must be a {type(current).__name__}, not {value!r}")
        elif get_origin(hint := get_type_hints(type(base))[key]) is Literal and value not in get_args(hint):
            raise UserError(f"{where}: {key} must be one of {', '.join(map(str, get_args(hint)))}, not {value!r}")
        else:
            changes[key] = value
    return replace(base, **changes)


def _accepts(current: Any) -> tuple[type, ...]:
    return (int, float) if type(current) is float else (type(current),)


def check(config: RunConfig) -> RunConfig:
    """The configuration itself. Raises UserError for settings that make no sense, alone or together."""
    c = config.learn
    check_rewards(config.rewards, c.rounds)
    if c.collect == "rollouts" and c.group < 2:
        raise UserError("learn.group: a group of rollouts needs at least 2")
    if c.algorithm == "grpo" and c.targets == "visits":
        raise UserError('learn.targets = "visits" belongs to expert_iteration')
    if c.shard and (c.ranks < 2 or not config.serve.start):
        raise UserError("learn.shard splits a pretrained model (serve.start) over several processes (learn.ranks)")
    if (
        not config.name.strip()
        or not config.name.isprintable()
        or config.name == "."
        or ".." in Path(config.name).parts
    ):
        raise UserError(f"name={config.name!r}: a run needs a name, on one line: its folder's")
    if Path(config.name).is_absolute():
        raise UserError(
            f"name={config.name!r}: is a path from the root; runs={str(Path(config.name).parent)!r} says where runs go"
        )
    for name, value in _settings(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} must be a number, not {value}")
    t = config.theorems
    m = config.model
    if not config.serve.start:  # a model of its own
        if not c.seconds > 0:
            raise UserError(f"learn.seconds must be above 0, not {c.seconds:g}")
        if (
            m.hidden < 1
            or m.heads < 1
            or m.layers < 1
            or m.intermediate < 1
            or m.hidden % m.heads
            or m.hidden // m.heads % 2
        ):
            raise UserError(f"model.hidden={m.hidden} must be heads times an even number: model.heads={m.heads}")
        if m.vocabulary < LEAST_VOCABULARY:
            raise UserError(f"model.vocabulary must be at least {LEAST_VOCABULARY}, not {m.vocabulary}")
        if m.max_prompt < LEAST_PROMPT:
            raise UserError(f"model.max_prompt must be at least {LEAST_PROMPT} tokens, not {m.max_prompt}")
    if not 0 <= config.prover.premises <= MOST_PREMISES:
        raise UserError(f"prover.premises must be from 0 to {MOST_PREMISES}, not {config.prover.premises}")
    for name, value, least in (
        ("limit", t.limit, 1),
        ("per_module", t.per_module, 1),
        ("held_out_per_module", t.held_out_per_module, 0),
        ("held_out_limit", t.held_out_limit, 0),
    ):
        if value is not None and (type(value) is not int or value < least):
            raise UserError(f"theorems.{name} must be a whole number of at least {least}, not {value!r}")
    if not config.replay.half_life > 0:
        raise UserError(f"replay.half_life must be above 0, not {config.replay.half_life}")
    for name, value in (("learn.lambda_", c.lambda_), ("learn.fresh_names", c.fresh_names)):
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{name} must be in [0, 1], not {value}")
    for name, value in (
        ("learn.rounds", c.rounds),
        ("prover.provers", config.prover.provers),
        ("prover.concurrent", config.prover.concurrent),
        ("prover.in_flight", config.prover.in_flight),
        ("prover.suggestions", config.prover.suggestions),
        ("learn.first_calls", c.first_calls),
        ("learn.calls", c.calls),
        ("eval.calls", config.eval.calls),
        ("eval.validation_calls", config.eval.validation_calls),
        ("ray.model_servers", config.ray.model_servers),
        ("learn.ranks", c.ranks),
        ("replay.capacity", config.replay.capacity),
        ("replay.on_disk", config.replay.on_disk),
        ("matchmaker.base_calls", config.matchmaker.base_calls),
    ):
        if value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")
    for name, value in (
        ("eval.validation", config.eval.validation),
        ("eval.rollouts", config.eval.rollouts),
        ("learn.max_epochs", c.max_epochs),
        ("learn.keep", c.keep),
    ):
        if value < 0:
            raise UserError(f"{name} must be 0 (none) or more, not {value}")
    return config


def _settings(table: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every setting, as `override` takes them."""
    for f in fields(table):
        value = getattr(table, f.name)
        if is_dataclass(value):
            yield from _settings(value, f"{where}{f.name}.")
        else:
            yield f"{where}{f.name}", value


def difference(saved: RunConfig, wanted: RunConfig) -> str | None:
    """The first setting that two configurations have otherwise, as `learn.rounds=3, not 10`; None where only their folders differ."""
    for (name, there), (_, here) in zip(_settings(saved), _settings(wanted), strict=True):
        if there != here and name not in ("name", "runs"):
            return f"{name}={there}, not {here}"
    return None


def dump(config: RunConfig) -> str:
    """The effective configuration as TOML."""

    def value(v: Any) -> str:
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, (int, float)):
            return repr(v)
        if isinstance(v, (tuple, list)):
            return "[" + ", ".join(value(x) for x in v) + "]"
        return json.dumps(str(v), ensure_ascii=False)

    data = asdict(config)
    lines = [f"format = {FORMAT}"]
    lines += [f"{k} = {value(v)}" for k, v in data.items() if not isinstance(v, dict) and v is not None]
    for table, content in data.items():
        if isinstance(content, dict):
            lines += ["", f"[{table}]", *(f"{k} = {value(v)}" for k, v in content.items() if v is not None)]
    return "\n".join(lines) + "\n"


def override(config: RunConfig, settings: tuple[str, ...]) -> RunConfig:
    """Apply `table.key=value` or `key=value`, values as in TOML. Raises UserError for what does not fit."""
    for setting in settings:
        key, sep, text = setting.partition("=")
        if not sep:
            raise UserError(f"{setting}: write it as table.key=value, e.g. learn.rounds=5")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        data: dict[str, Any] = {}
        inner = data
        *tables, last = key.strip().split(".")
        for table in tables:
            inner = inner.setdefault(table, {})
        inner[last] = value
        config = _fill(config, data, "command line")
    return config
