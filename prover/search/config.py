"""Settings of a search, each with its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prover.search.lean_queries import parse_questions

Combine = Literal["min", "product", "sum"]


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How a search behaves. Every field has a working default; `selection` names a rule of `select.RULES`."""

    selection: str = "puct"
    """`puct`, `best_first`, `best_tactic`, `breadth`, `rollout`, `rmax` or `uniform`."""
    in_flight: int = 8
    """Walks under way at the same time, each waiting for a model or one Lean call. 1 makes a search deterministic."""
    suggestions: int = 32
    """Tactics asked of the policy at each expansion of a goal."""
    max_expansions: int = 4
    """How often the policy may be asked about one goal. A goal with nothing left after that is failed."""
    widen_base: float = 32.0
    """A goal whose tactics are all tried is expanded again once visits > widen_base * expansions ** widen_power."""
    widen_power: float = 1.5
    temperature: float = 2.0
    """Priors are softmax(logprob / temperature); `inf` makes them uniform. Tuned, see docs/search.md: at 1 a tactic that the policy puts
    far down, and that would close a goal at once, is not tried in hundreds of Lean calls."""
    length_power: float = 0.0
    """Log-probabilities are divided by characters ** length_power before the softmax; 0 leaves them alone."""
    c_init: float = 0.5
    """Exploration constant of PUCT (Silver et al. 2018). Tuned, see docs/search.md; Schrittwieser et al. 2020 have 1.25."""
    c_base: float = 19652.0
    """Visits at which exploration starts to grow (same source)."""
    fpu_reduction: float = 0.1
    """First-play urgency: an untried tactic is worth its goal's value less this."""
    root_breadth: float = 256.0
    """PUCT tries at least N² / (N + root_breadth) of the root's own tactics in N calls: next to none of a few, half of so many. Most proofs
    are short, so the longer a search goes without one, the likelier is it that a tactic far down the root's list was wanted. `inf`: off."""
    virtual_loss: float = 1.0
    """How many lost visits each walk in flight counts for."""
    discount: float = 0.95
    """Value of a goal that is k tactics from proved is discount ** k."""
    combine: Combine = "min"
    """Value of a tactic from the goals it left: the hardest decides, product of values, or sum of steps."""
    unknown_value: float = 0.5
    """Value of a goal before anything is known, in a search without a value model. In [0, 1]."""
    length_penalty: float = 0.0
    """Best-first scores a goal sum(logprob) / depth ** length_penalty (BFS-Prover, Xin et al. 2025); 0: ReProver's."""
    rollout_depth: int = 8
    """Longest rollout, in tactics, for `rollout`."""
    c_uct: float = 1.0
    """Exploration constant of `rollout` (UCT) ; `rmax` uses the constant of its paper."""
    rmax_discount: float = 0.99
    """Discount of old rewards in `rmax` (DeepSeek-Prover-V1.5, Xin et al. 2024, section 3.3)."""
    keep_improving: bool = False
    """Go on after the first proof, looking for a shorter one until the budget ends or nothing shorter can exist."""
    max_exceptions: int = 8
    """So many exceptions of the environment in a row end the search with outcome `error`."""
    questions: str = ""
    """Questions to Lean beside the policy's tactics, a call each: some of `questions.KNOWN`, with commas between them. Off: a
    library search takes seconds, and did not pay at equal calls (docs/search.md)."""
    max_batch: int = 256
    """Most queries in one call of a model."""
    model_thread: bool = True
    """Call models in a thread so that Lean goes on meanwhile; turn off for models that answer in microseconds."""
    seed: int = 0
    """Seeds what a selection rule draws at random (only `rollout` draws)."""

    def __post_init__(self) -> None:
        if self.in_flight < 1 or self.suggestions < 1 or self.max_expansions < 1 or self.max_batch < 1:
            raise ValueError("in_flight, suggestions, max_expansions and max_batch must be at least 1")
        parse_questions(self.questions)
        if not 0.0 < self.discount <= 1.0:
            raise ValueError(f"discount must be in (0, 1], not {self.discount}")
        if not 0.0 <= self.unknown_value <= 1.0:
            raise ValueError(f"unknown_value must be in [0, 1], not {self.unknown_value}")
        if not self.root_breadth > 0.0:
            raise ValueError(f"root_breadth must be positive, not {self.root_breadth}; use inf for none")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be positive, not {self.temperature}; use inf for uniform priors")
        if self.combine not in ("min", "product", "sum"):
            raise ValueError(f"combine must be min, product or sum, not {self.combine!r}")
