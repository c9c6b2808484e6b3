"""Settings of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prover.search.lean_queries import parse_questions

Combine = Literal["min", "product", "sum"]


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Settings of a search. `selection` names a rule of `select.RULES`."""

    selection: str = "puct"
    """`puct`, `best_first`, `best_tactic`, `breadth`, `rollout`, `rmax` or `uniform`."""
    in_flight: int = 8
    """Simulations under way at the same time. 1 makes a search deterministic."""
    suggestions: int = 32
    """Tactics requested from the policy at each expansion of a goal."""
    max_expansions: int = 4
    """Expansions of one goal. A goal with nothing left to try after the last one fails."""
    widen_base: float = 32.0
    """A goal with no untried tactic is expanded again once visits > widen_base * expansions ** widen_power."""
    widen_power: float = 1.5
    temperature: float = 2.0
    """Priors are softmax(logprob / temperature); `inf` makes them uniform. Tuned, see docs/search.md: at 1, hundreds of Lean
    calls may pass before an improbable tactic that closes a goal is tried."""
    length_power: float = 0.0
    """Log-probabilities are divided by characters ** length_power before the softmax; 0: off."""
    c_init: float = 0.5
    """Exploration constant of PUCT (Silver et al. 2018). Tuned, see docs/search.md; Schrittwieser et al. 2020 use 1.25."""
    c_base: float = 19652.0
    """Visits at which exploration starts to grow (same sources)."""
    fpu_reduction: float = 0.1
    """First-play urgency: the value of an untried tactic is its goal's value minus this."""
    root_breadth: float = 256.0
    """PUCT tries at least N² / (N + root_breadth) of the root's own tactics in N calls. Most proofs are short: a long search
    without a proof probably missed a tactic far down the root's list. `inf`: off."""
    discount: float = 0.95
    """A goal that is k tactics from a proof has value discount ** k."""
    combine: Combine = "sum"
    """Value of a tactic from its subgoals: `sum` of steps, as labels and TD(λ) count them; `min`, the hardest subgoal (AlphaProof);
    or `product` of values without a discount (HTPS)."""
    unknown_value: float = 0.5
    """Initial value of a goal in a search without a value model, in [0, 1]."""
    length_penalty: float = 0.0
    """Best-first scores a goal sum(logprob) / depth ** length_penalty (BFS-Prover, Xin et al. 2025); 0: ReProver's."""
    rollout_depth: int = 8
    """Longest rollout, in tactics, for `rollout`."""
    c_uct: float = 1.0
    """Exploration constant of `rollout` (UCT)."""
    rmax_discount: float = 0.99
    """Discount of old rewards in `rmax` (DeepSeek-Prover-V1.5, Xin et al. 2024, section 3.3)."""
    keep_improving: bool = False
    """Continue after the first proof and look for shorter ones, until the budget ends or none can exist."""
    max_exceptions: int = 8
    """Consecutive exceptions of the environment that end the search with outcome `error`."""
    questions: str = ""
    """Lean queries (`lean_queries.KNOWN`, comma-separated) tried in addition to the policy's tactics, one call each. Off by default:
    a library search takes seconds and did not pay at equal calls (docs/search.md)."""
    backward: int = 0
    """Maximum number of backward steps at a goal (`refine (fun h : B => ?_) ?_`). In the proof of the first goal that one leaves, the first
    expansion of a goal asks the policy for tactics that lead to B. For a policy trained on infilling (`learn.infill`). 0: off."""
    model_thread: bool = True
    """Call models in a thread, so that Lean works meanwhile. Turn off for models that answer in microseconds."""
    seed: int = 0
    """Random seed of the `rollout` rule; the other rules are deterministic."""

    def __post_init__(self) -> None:
        if self.in_flight < 1 or self.suggestions < 1 or self.max_expansions < 1:
            raise ValueError("in_flight, suggestions and max_expansions must be at least 1")
        parse_questions(self.questions)
        if not 0.0 < self.discount <= 1.0:
            raise ValueError(f"discount must be in (0, 1], not {self.discount}")
        if not 0.0 <= self.unknown_value <= 1.0:
            raise ValueError(f"unknown_value must be in [0, 1], not {self.unknown_value}")
        if not self.root_breadth > 0.0:
            raise ValueError(f"root_breadth must be positive, not {self.root_breadth}; use inf to turn it off")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be positive, not {self.temperature}; use inf for uniform priors")
        if self.combine not in ("min", "product", "sum"):
            raise ValueError(f"combine must be min, product or sum, not {self.combine!r}")
