"""The configuration of a run: typed, documented, read from TOML, overridden on the command line, saved with the run."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prover.errors import UserError

FORMAT = 1
"""Version of a run folder's layout: a folder with another one is refused."""


@dataclass(frozen=True)
class TheoremsConfig:
    """What to learn on and what to measure on."""

    modules: tuple[str, ...] = ()
    """Library modules; empty: the demonstration's (curricula/library.py)."""
    per_module: int = 40
    """At most so many training theorems of a module."""
    held_out_per_module: int = 18
    """At most so many held-out theorems of a module."""
    limit: int | None = None
    """At most so many training theorems in all."""
    held_out_limit: int | None = 300
    """At most so many held-out theorems in all."""


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
    explorer_weight: float = 0.3
    """Share of the explorer in the mixture with the model, while collecting."""
    eval_explorer_weight: float = 0.3
    """The same, while measuring."""
    premises: int = 4
    """Premises offered for each goal."""
    heartbeats: int = 4000
    """Limit of a step, in thousands of small allocations (Lean's maxHeartbeats)."""
    step_seconds: float = 10.0
    """Wall-clock limit of a step."""
    use_value: bool = True
    """Let the model's value guide the search."""


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


@dataclass(frozen=True)
class LearnConfig:
    """Expert iteration."""

    algorithm: Literal["expert_iteration"] = "expert_iteration"
    rounds: int = 3
    """Rounds of search and learning."""
    first_calls: int = 20
    """Lean calls a theorem in the first round, which the explorer does alone."""
    calls: int = 16
    """Lean calls a theorem in later rounds."""
    harvest: int = 12
    """After a proof: so many more tactics tried on its first goal, for other ways to close it."""
    seconds: float = 60.0
    """Time for learning in each round."""
    learning_rate: float = 1e-3
    batch_tokens: int = 384
    value_weight: float = 0.3
    threads: int = 2


@dataclass(frozen=True)
class EvalConfig:
    """Measuring on held-out theorems."""

    calls: int = 64
    """Lean calls a theorem; curves are for 1, 2, 4 … this."""
    baselines: bool = True
    """Measure the portfolio and the explorer too."""


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
    eval: EvalConfig = field(default_factory=EvalConfig)

    @property
    def folder(self) -> Path:
        return Path(self.runs) / self.name


def load(path: Path) -> RunConfig:
    """Read a TOML file. Raises UserError naming file, table and key for anything that does not fit."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
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
        elif current is not None and not isinstance(value, _accepts(current)):
            raise UserError(f"{where}: {key} must be a {type(current).__name__}, not {value!r}")
        else:
            changes[key] = value
    return replace(base, **changes)


def _accepts(current: Any) -> tuple[type, ...]:
    return (int, float) if type(current) is float else (type(current),)


def dump(config: RunConfig) -> str:
    """The effective configuration as TOML."""

    def value(v: Any) -> str:
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, (int, float)):
            return repr(v)
        if isinstance(v, (tuple, list)):
            return "[" + ", ".join(value(x) for x in v) + "]"
        return '"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"'

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
