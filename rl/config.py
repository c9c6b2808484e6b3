"""The configuration of a run: typed dataclasses read from TOML, overridden on the command line, and saved with the run."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

import curricula
from curricula.sampler import MatchConfig
from curricula.settings import convert, named_settings, read_toml, toml_lines
from prover import plugins
from prover.errors import UserError
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.models.backends.serve import ServeConfig
from prover.models.elementary import Actions
from prover.models.mixture import EXPLORER_WEIGHT
from prover.search.select import rule_named
from prover.solve.ledger import FORMAT
from rl.algorithms.dpo_settings import DPOConfig
from rl.algorithms.gradient_settings import PRESETS, GradientConfig, settings_of
from rl.rewards import REWARDS
from rl.rewards import check as check_rewards

STAGES = Path(curricula.__file__).parent / "stages"
LEAST_VOCABULARY = 293
"""Bytes and special tokens. The same number as in prover/models/tokenizer.py, which takes seconds to import."""
LEAST_PROMPT = 16
"""Number of tokens that shows at least a part of a goal."""
MOST_PREMISES = 16
"""Slot tokens of a vocabulary."""

ALGORITHMS = "turnstile.algorithms"
"""Entry-point group of functions from (rows, round) to policy examples; see docs/extending.md."""
DPO = "dpo"
OWN_ALGORITHMS = ("expert_iteration", DPO, *PRESETS)

Positive = Annotated[int, msgspec.Meta(ge=1)]
NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class TheoremsConfig:
    """Training and evaluation theorems."""

    modules: tuple[str, ...] = ()
    """Library modules. Empty: those of the demonstration (curricula/library.py), or none if `files` is given."""
    files: tuple[str, ...] = ()
    """Data sets (`.jsonl`, `.json`, `.parquet`, or folders of these), `.lean` files, Lake projects, worlds, and theorem sets (`.toml`). A
    hash of the theorem's name decides its split: 70 % training, 20 % held out, 10 % validation; a set may name another one."""
    targets: tuple[str, ...] = ()
    """Names of training theorems that rounds try until they are proved, each time with more Lean calls. A round tries at least one in turn,
    and at most as many as take the Lean calls of its other theorems. The run ends when all are proved, or at `max_minutes`, even in the
    middle of a round."""
    target_calls: NonNegative = 0
    """Lean calls of a target's first try, within the same bound. 0: `learn.first_calls`."""
    fields: tuple[str, ...] = ()
    """`PART=FIELD`: the fields of the data sets that contain the theorems' parts, as in `turnstile prove --fields`."""
    per_module: Positive = 40
    """Maximum number of training theorems of a module."""
    held_out_per_module: NonNegative = 18
    """Maximum number of held-out theorems of a module."""
    limit: Positive | None = None
    """Maximum number of training theorems. Theorems of files come first."""
    held_out_limit: NonNegative | None = 300
    """Maximum number of held-out theorems. Theorems of files come first."""


@dataclass(frozen=True)
class ProverConfig:
    """Prover processes, limits and search."""

    provers: Positive = 2
    """Prover actors, each with one Lean process."""
    concurrent: Positive = 5
    """Concurrent searches of a prover, so that both Lean and the model have work."""
    in_flight: Positive = 2
    """Concurrent simulations within one search."""
    suggestions: Positive = 16
    """Tactics requested from the model at each expansion."""
    explorer_weight: float = EXPLORER_WEIGHT
    """Weight of the explorer in its mixture with the model, in training."""
    eval_explorer_weight: float = EXPLORER_WEIGHT
    """Weight of the explorer in its mixture with the model, in evaluation."""
    rule: str = "puct"
    """Selection rule of the search: `puct`, `best_first`, `best_tactic`, `breadth`, `rollout`, `rmax`, `uniform`, or an entry point of
    `turnstile.rules`."""
    premises: Annotated[int, msgspec.Meta(ge=0, le=MOST_PREMISES)] = 8
    """Premises offered for each goal."""
    retriever: Literal["symbols", "bm25", "symbols+bm25", "dense", "hybrid"] = "symbols"
    """Premise retriever. `dense` and `hybrid` learn from audited proofs, and start as `symbols`."""
    heartbeats: int = SEARCH_HEARTBEATS
    """Limit of a step, in thousands of small allocations (Lean's maxHeartbeats)."""
    step_seconds: float = 10.0
    """Wall-clock limit of a step."""
    actions: Actions = "full"
    """Moves of the template policy: `full`, or `elementary` for the steps of a proof by hand, without automation."""
    strict: bool = False
    """Refuse all moves outside `actions`, whichever policy proposes them, so that no others reach Lean or the training data. The
    portfolio is not restricted as a baseline."""
    temperature: Annotated[float, msgspec.Meta(gt=0.0)] = 2.0
    """Temperature of the search's priors."""
    root_breadth: Annotated[float, msgspec.Meta(gt=0.0)] = 256.0
    """PUCT tries at least N² / (N + root_breadth) of the root's own tactics in N calls."""
    use_value: bool = True
    """Guide the search by the model's value."""
    use_ranker: bool = True
    """Learn to rank tactics from every tactic tried, and search in that order."""
    assess: tuple[Literal["tactics", "premises", "goals", "batches"], ...] = ()
    """Uses of the assessor: `tactics`, `premises`, `goals`, `batches`; see docs/learning.md."""


@dataclass(frozen=True)
class ModelConfig:
    """The model trained from scratch."""

    start: str = ""
    """Folder of a run or checkpoint with such a model, whose weights, ranker and retriever the run begins with. Empty: none."""
    hidden: Positive = 192
    layers: Positive = 4
    heads: Positive = 6
    intermediate: Positive = 512
    vocabulary: Annotated[int, msgspec.Meta(ge=LEAST_VOCABULARY)] = 1024
    max_prompt: Annotated[int, msgspec.Meta(ge=LEAST_PROMPT)] = 88
    """Maximum number of tokens of a prompt. Longer prompts lose their beginning."""
    premise_types: bool = False
    """Show a premise by its statement instead of the end of its name. Needs about 24 `premise_tokens` and a larger `max_prompt`."""
    premise_tokens: int = 6
    """Maximum number of tokens of one premise. All premises together take at most 3/5 of the prompt."""


@dataclass(frozen=True)
class LearnConfig:
    """Rounds of collecting and learning."""

    algorithm: str = "expert_iteration"
    """Policy learning: `expert_iteration`, a preset of the policy gradient, `dpo` on pairs of tactics that worked and failed on one goal
    (for a pretrained model), or an entry point of `turnstile.algorithms`. The presets (`grpo`, `dr_grpo`, `dapo`, `gspo`, `cispo`,
    `reinforce++`) are for a pretrained model (`serve.start`) and need `collect = "rollouts"` or `"proofs"`. The model from scratch supports `grpo` from
    the second round on; its first round is expert iteration on the explorer's proofs."""
    value: Literal["monte_carlo", "td_lambda", "none"] = "monte_carlo"
    """Value learning. `none`: the value is neither learned nor used."""
    collect: Literal["search", "rollouts", "proofs"] = "search"
    """Source of attempts after the first round, or with a pretrained model in all rounds: the search, rollouts sampled from the policy
    tactic by tactic, or whole proofs of a pretrained model whose template answers with proofs."""
    targets: Literal["proofs", "visits"] = "proofs"
    """Policy targets of expert iteration: the tactics that start a proof, or the search's visit counts on proved goals."""
    subgoals: Probability = 0.5
    """Weight of the solved subgoals of theorems that were not proved, for the policy and the ranker. 0: only the value learns from them."""
    rounds: Positive = 3
    """Rounds of collecting and learning."""
    retrain_every: NonNegative = 0
    """Expert iteration and `dpo`: number of rounds after which training starts again from the first weights (BFS-Prover-V2; Xin et al. 2025). 0: never."""
    max_staleness: NonNegative = 0
    """Versions that the attempts of a round may lag behind. 0: collecting waits for each version. 1: collecting overlaps with learning."""
    first_calls: Positive = 20
    """Lean calls per theorem in the first round, which uses the explorer alone unless there is a pretrained model."""
    calls: Positive = 16
    """Lean calls per theorem in later rounds. The matchmaker distributes this times the number of theorems."""
    theorems: NonNegative = 0
    """Theorems per round. 0: all of them in the first round, later as many as the Lean calls allow."""
    group: int = 8
    """Rollouts of one theorem, with `collect = "rollouts"` or `"proofs"`."""
    max_tactics: int = 12
    """Maximum length of a rollout."""
    turns: Positive = 1
    """Proofs in a conversation, with `collect = "proofs"`: Lean's error on a failed proof goes back to the model."""
    infill: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    """Share of the policy examples that are infilling: a goal, a goal further down in its proof, and the first tactic on the way."""
    harvest: int = 12
    """Additional tactics tried on a theorem's first goal after its first proof, to find other ways to close it."""
    extracted: str = ""
    """Output folder of `turnstile extract` with human proofs. Expert iteration learns them in each round, others in the first. Empty: none."""
    seconds: Annotated[float, msgspec.Meta(gt=0.0)] = 60.0
    """Training time per round. On a CPU this is processor time, so that a busy machine takes longer and learns the same."""
    max_epochs: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """Maximum number of passes over a round's examples. 0: limited by time only. For a pretrained model, 0 is three passes, or one with `dpo`
    or a policy gradient, which clips more the further the policy moves from the one that was sampled."""
    learning_rate: float = 1e-3
    warmup: int = 20
    """Steps until the full learning rate."""
    clip_norm: float = 1.0
    """Maximum norm of a gradient."""
    kl: float = 0.0
    """Weight per token of KL(policy || the policy before this round). 0.04 is usual for `grpo`."""
    ema: float = 0.0
    """Decay of the weight average that is published. 0: no averaging."""
    lambda_: Probability = 0.7
    """λ of `td_lambda`."""
    fresh_names: Probability = 0.3
    """Probability that training shows a goal with made-up library names, for the model from scratch and the ranker."""
    ranker_seconds: float = 30.0
    """Training time of the tactic ranker per round, measured as for `seconds`."""
    assessor_seconds: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """Training time of the assessor per round. 0: none."""
    retriever_seconds: float = 15.0
    """Training time of a learned retriever per round, measured as for `seconds`."""
    batch_tokens: int = 384
    value_weight: float = 1.0
    """Number of tactic tokens that a value example counts as, times the example's own weight."""
    threads: int = 2
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is for GPUs, and CPUs with AMX."""
    keep: NonNegative = 0
    """Number of newest checkpoints to keep. 0: all. Checkpoints of a pretrained model are large."""
    ranks: Positive = 1
    """Learner processes, each on its own device, with averaged gradients (data parallel)."""
    shard: bool = False
    """Split a pretrained model and its optimizer over these processes (FSDP), for models larger than one device."""


@dataclass(frozen=True)
class ReplayConfig:
    """The replay buffer."""

    capacity: Positive = 100_000
    """Maximum number of examples of a kind in memory."""
    on_disk: Positive = 300_000
    """Maximum number of examples of a kind kept in the ledger after a round. An example takes one to five kilobytes."""
    prioritised: bool = True
    """False: uniform sampling, the baseline for ablations."""
    exponent: float = 0.6
    """Exponent of the priorities. 0 is uniform (Schaul et al. 2016)."""
    half_life: Annotated[float, msgspec.Meta(gt=0.0)] = 4.0
    """Model versions after which an example's priority halves."""
    start_share: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    """Share of the examples that each round draws from the run of `model.start`, against forgetting; at least 2,000 of each kind."""


@dataclass(frozen=True)
class RayConfig:
    """Placement of actors. A local cluster starts by itself. On other clusters, start Ray on each machine with
    `ray start --address=HEAD --resources='{"prover": 4}'`; provers join and leave with the machines."""

    address: str = ""
    """An existing cluster (`auto`, or host:port). Empty: a local one for this run."""
    elastic: bool = False
    """Follow the cluster's `prover` resources instead of `prover.provers`."""
    model_servers: Positive = 1
    """Copies of the model. Each prover uses one of them."""
    server_gpus: float = 0.0
    """GPUs per model server. 0 with `serve.backend="vllm"`: vLLM's build for CPUs."""
    learner_gpus: float = 0.0
    """GPUs per learner process."""
    audits: int = 32
    """Maximum number of proofs waiting for each auditor (one per 8 provers). No new search starts beyond it."""


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation on held-out theorems."""

    calls: Positive = 64
    """Lean calls per theorem. Curves show 1, 2, 4 … up to this."""
    baselines: bool = True
    """Also evaluate the baselines without training: the portfolio, the explorer with uniform template weights, the explorer."""
    validation: NonNegative = 0
    """Number of theorems of the validation split that the trained prover tries after each round, the same ones each time."""
    validation_calls: Positive = 16
    """Lean calls for each of them."""
    validation_rollouts: NonNegative = 0
    """Sample this many rollouts of each validation theorem instead of a search, for pass@k after every round, and for a pretrained model
    before the first round. 0: search."""
    rollouts: NonNegative = 0
    """Rollouts without search of each held-out theorem at the end, for pass@k. 0: none."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str = "demonstration"
    """The run's folder is `runs/NAME`."""
    runs: str = "runs"
    seed: int = 0
    max_minutes: float = 60.0
    """No round but the first starts later than this, counted over all starts of the run. The final evaluation always runs."""
    theorems: TheoremsConfig = field(default_factory=TheoremsConfig)
    prover: ProverConfig = field(default_factory=ProverConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    learn: LearnConfig = field(default_factory=LearnConfig)
    gradient: GradientConfig = field(default_factory=GradientConfig)
    dpo: DPOConfig = field(default_factory=DPOConfig)
    matchmaker: MatchConfig = field(default_factory=MatchConfig)
    rewards: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Weights of the rewards by round, e.g. `progress = [0, 0, 0.2]` (see rl/rewards.py). By default `proved` has weight 1, and the
    others 0."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        # Drop weights without effect, which earlier versions wrote, so that equivalent configurations are equal.
        stated = {
            n: w for n, w in self.rewards.items() if n not in REWARDS or w != ((1.0,) if n == "proved" else (0.0,))
        }
        object.__setattr__(self, "rewards", stated)

    def retrains(self, r: int) -> bool:
        """Whether round `r` trains the weights of the start again (`learn.retrain_every`)."""
        return r > 1 and self.learn.retrain_every > 0 and (r - 1) % self.learn.retrain_every == 0

    @property
    def has_model(self) -> bool:
        """Whether there is a model before the first round."""
        return bool(self.serve.start or self.model.start)

    @property
    def learns_value(self) -> bool:
        """Whether the run learns a value. Whole proofs have no search that could use one."""
        return self.prover.use_value and self.learn.value != "none" and self.learn.collect != "proofs"

    @property
    def folder(self) -> Path:
        return Path(self.runs) / self.name


_TABLES: dict[str, Any] = {name: hint for name, hint in get_type_hints(RunConfig).items() if is_dataclass(hint)}


def load(path: Path) -> RunConfig:
    """Read a TOML file, or an installed stage by its name. Raises UserError with file, table and key for an invalid setting."""
    if len(path.parts) == 1 and not path.suffix and not path.is_file():
        stages = {stage.stem: stage for stage in STAGES.glob("*.toml")}
        if path.name not in stages:
            raise UserError(f"{path}: no such file or stage; the stages are {', '.join(sorted(stages))}")
        path = stages[path.name]
    data = read_toml(path)
    data.pop("format", None)
    return convert(data, RunConfig, f"{path}: ")


def override(config: RunConfig, settings: tuple[str, ...]) -> RunConfig:
    """Apply `table.key=value` or `key=value`, with values as in TOML. Raises UserError for an invalid setting."""
    data = asdict(config)
    for setting in settings:
        key, sep, text = setting.partition("=")
        if not sep:
            raise UserError(f"{setting}: write it as table.key=value, e.g. learn.rounds=5")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        table, _, name = key.strip().rpartition(".")
        try:
            (data[table] if table else data)[name] = value
        except (KeyError, TypeError):
            raise UserError(f"command line: unknown setting {key.strip()!r}; tables: {', '.join(_TABLES)}") from None
    return convert(data, RunConfig, "command line: ")


def check(config: RunConfig) -> RunConfig:
    """Return the configuration. Raises UserError for settings that are out of range or contradict each other."""
    convert(asdict(config), RunConfig)
    c, m = config.learn, config.model
    plugins.chosen(ALGORITHMS, dict.fromkeys(OWN_ALGORITHMS), c.algorithm)
    rule_named(config.prover.rule)
    check_rewards(config.rewards, c.rounds)
    if c.collect != "search" and c.group < 2:
        raise UserError(f"learn.group={c.group}: must be at least 2 rollouts")
    if c.algorithm in PRESETS:
        settings_of(c.algorithm, config.gradient)
        if c.targets == "visits":
            raise UserError('learn.targets="visits" requires learn.algorithm="expert_iteration"')
    gradient = c.algorithm in (DPO, *PRESETS) and (c.algorithm != "grpo" or config.gradient != GradientConfig())
    if gradient and not config.serve.start:
        raise UserError(
            f'learn.algorithm="{c.algorithm}" and the table [gradient] are for a pretrained model (serve.start); the model from scratch '
            'supports "grpo" and its own settings (learn.kl)'
        )
    if config.model.start and config.serve.start:
        raise UserError("model.start is for a model from scratch and serve.start for a pretrained one; set one of them")
    if config.replay.start_share and not config.model.start:
        raise UserError("replay.start_share takes examples from the run of model.start; set model.start")
    if c.shard and (c.ranks < 2 or not config.serve.start):
        raise UserError("learn.shard splits a pretrained model (serve.start) over several processes (learn.ranks)")
    path = Path(config.name)
    if not config.name.strip() or not config.name.isprintable() or config.name == "." or ".." in path.parts:
        raise UserError(
            f"name={config.name!r}: the name of the run's folder must be one line and must not contain `..`"
        )
    if path.is_absolute():
        raise UserError(f"name={config.name!r} is an absolute path: set runs={str(path.parent)!r} and a plain name")
    for name, value in named_settings(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} must be a finite number, not {value}")
    if m.hidden % m.heads or m.hidden // m.heads % 2:
        raise UserError(f"model.hidden={m.hidden} must be an even multiple of model.heads={m.heads}")
    return config


def dump(config: RunConfig) -> str:
    """The effective configuration as TOML."""
    return "\n".join([f"format = {FORMAT}", *toml_lines(asdict(config))]) + "\n"
