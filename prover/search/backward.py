"""Backward steps: for a conjectured goal B on the way to a goal A, prove B, and A from B.

In the proof of A from B, the policy's query names B as the goal to reach (infilling).
"""

from __future__ import annotations

from collections.abc import Sequence

from prover.lean.theorem import Goal
from prover.models.base import Suggestion
from prover.models.elementary import fresh_name
from prover.models.type_shape import shape_of
from prover.search.graph import Node

SOURCE = "backward"


def conjectures(goal: Goal) -> list[str]:
    """Propositions that may lie between the hypotheses and the target: conclusions and premises of the hypotheses' implications, those
    of the newest first. Proofs without detours need no others in propositional logic (Gentzen 1935, the subformula property)."""
    known = {type_ for _, type_ in goal.hypotheses} | {goal.target}
    shapes = [shape_of(type_) for _, type_ in reversed(goal.hypotheses)]
    rules = [s for s in shapes if s.premises and not s.binders]
    found = [*(s.conclusion for s in rules), *(p for s in rules for p in s.premises)]
    return [b for b in dict.fromkeys(found) if b not in known]


def with_backward_steps(offered: Sequence[Suggestion], goal: Goal, most: int) -> list[Suggestion]:
    """A policy's tactics with at most `most` backward steps added. The first is about as probable as the policy's last tactic, and
    each later one is half as likely."""
    least = min((s.logprob for s in offered), default=0.0)
    # Unlike those of `have h : B := ?_`, the two goals share no metavariable, so the search proves each by itself.
    steps = [f"refine (fun {fresh_name(goal)} : {b} => ?_) ?_" for b in conjectures(goal)[:most]]
    said = {s.tactic for s in offered}
    return [*offered, *(Suggestion(t, least - 0.7 * i, SOURCE) for i, t in enumerate(steps) if t not in said)]


def goal_between(node: Node) -> str:
    """The goal to reach for a node below a tactic that stated it, as backward steps, `have` and `suffices` do; empty if there is none.

    Such a tactic leaves a goal B, and a goal with B as a further hypothesis. The nearest one above the node counts.
    """
    target = node.state.goals[0].target
    while (edge := node.origin) is not None:
        first, *others = node.state.goals
        new = {t for _, t in first.hypotheses} - {t for _, t in edge.parent.state.goals[0].hypotheses}
        others += [child.state.goals[0] for child in edge.children if child is not node]
        stated = next((g for g in others if g.target in new), None)
        if stated is not None:
            return stated.text if stated.target != target else ""
        node = edge.parent
    return ""
