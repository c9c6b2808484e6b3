"""Scripts run by a small interpreter of Lean's goal list: bullets, focus, rotation and order."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.lean.theorem import ProofNode
from prover.search import to_script

EXAMPLES = int(os.environ.get("SEARCH_EXAMPLES", "60"))


@dataclass
class Step:
    """What the tactic does in the interpreter: on goal `main`, gives `new` in front, and `vanish` are assigned."""

    main: int
    new: list[int]
    vanish: set[int]


@dataclass
class Scripted:
    tree: ProofNode
    steps: dict[str, Step] = field(default_factory=dict)


@st.composite
def proofs(draw: st.DrawFn, crossing: bool) -> Scripted:
    """Proof trees of goal groups. With `crossing`, groups interleave freely, in any order of their goals, and no goal
    vanishes; without, groups of several goals do not interleave with each other, and goals vanish by unification."""
    counter = iter(range(1, 10_000))
    steps: dict[str, Step] = {}
    size = draw(st.integers(1, 14))
    left = [size]

    def prove(group: list[int]) -> ProofNode:
        left[0] -= 1
        tactic = f"t{next(counter)}"
        new = [next(counter) for _ in range(draw(st.integers(0, 3)) if left[0] > 0 else 0)]
        behind = group[1:]
        vanish = set() if crossing else {g for g in behind if draw(st.integers(0, 3)) == 0}
        goals = new + [g for g in behind if g not in vanish]
        multi = draw(st.booleans())
        lines = draw(st.integers(1, 3)) if multi else 1
        text = "\n".join([tactic] + [f"  {tactic}_{i}" for i in range(1, lines)])
        steps[text] = Step(group[0], new, vanish)
        groups = split(goals)
        order = tuple(next((c, g.index(goal)) for c, g in enumerate(groups) if goal in g) for goal in goals)
        return ProofNode(text, tuple(prove(g) for g in groups), order, len(group))

    def split(goals: list[int]) -> list[list[int]]:
        groups: list[list[int]] = []
        if crossing:
            for g in goals:
                i = draw(st.integers(0, len(groups)))
                if i == len(groups):
                    groups.append([])
                groups[i].append(g)
        else:
            current: list[int] = []
            for g in goals:  # a block of goals, some of which stand alone
                choice = draw(st.sampled_from(["join", "alone", "new"]))
                if choice == "alone":
                    groups.append([g])
                elif choice == "new" or not current:
                    current = [g]
                    groups.append(current)
                else:
                    current.append(g)
        return [draw(st.permutations(g)) if crossing and draw(st.integers(0, 4)) == 0 else g for g in groups]

    return Scripted(prove([0]), steps)


class Interpreter:
    """Lean's tactic framework, as far as goals go. A goal that was assigned is skipped wherever it stands."""

    def __init__(self, steps: dict[str, Step]) -> None:
        self.steps = steps
        self.assigned: set[int] = set()

    def block(self, lines: list[str], goals: list[int], alone: bool) -> list[int]:
        """Run lines (not indented) on a goal list; give the goals left."""
        i = 0
        while i < len(lines):
            j = i + 1
            while j < len(lines) and (lines[j].startswith(" ") or not lines[j]):
                j += 1
            head, rest = lines[i], lines[i + 1 : j]
            i = j
            goals = [g for g in goals if g not in self.assigned]
            assert goals, f"no goals left at {head!r}"
            if head.startswith("· "):
                body = [head[2:]] + [r[2:] for r in rest]
                assert all(r.startswith("  ") for r in rest)
                assert self.block(body, goals[:1], True) == []
                goals = goals[1:]
            elif match := re.fullmatch(r"rotate_left ?(\d*)", head):
                n = int(match[1] or 1)
                goals = goals[n:] + goals[:n]
            elif head.startswith("focus"):
                text = "\n".join([r[2:] for r in rest]) if head == "focus" else "\n".join([head[6:], *rest])
                goals = self.apply(text, goals[:1]) + goals[1:]
            else:
                assert len(goals) == 1, "a tactic runs beside other goals"
                goals = self.apply("\n".join([head, *rest]), goals)
        return [g for g in goals if g not in self.assigned]

    def apply(self, text: str, goals: list[int]) -> list[int]:
        step = self.steps[text]
        assert step.main == goals[0], f"{text!r} runs on goal {goals[0]}, it was made for {step.main}"
        self.assigned |= step.vanish | {step.main}
        return step.new + goals[1:]


@pytest.mark.parametrize("crossing", [False, True])
def test_scripts_do_what_the_tree_says(crossing: bool) -> None:
    @given(scripted=proofs(crossing))
    @settings(max_examples=EXAMPLES, deadline=None)
    def check(scripted: Scripted) -> None:
        script = to_script(scripted.tree)
        interpreter = Interpreter(scripted.steps)
        assert interpreter.block(script.split("\n"), [0], True) == []
        assert len(interpreter.assigned) >= scripted.tree.size

    check()


def leaf(tactic: str, goals: int = 1) -> ProofNode:
    return ProofNode(tactic, goals=goals)


def test_a_chain_is_a_column() -> None:
    tree = ProofNode("intro h", (ProofNode("cases h", (leaf("assumption"),), ((0, 0),)),), ((0, 0),))
    assert to_script(tree) == "intro h\ncases h\nassumption"


def test_independent_goals_get_bullets_to_the_last() -> None:
    inner = ProofNode("constructor", (leaf("exact h.2"), leaf("exact\n  h.1")), ((0, 0), (1, 0)))
    tree = ProofNode("constructor", (leaf("rfl"), inner), ((0, 0), (1, 0)))
    assert to_script(tree) == ("constructor\n· rfl\n· constructor\n  · exact h.2\n  · exact\n      h.1")


def test_blocks_without_bullets() -> None:
    inner = ProofNode("constructor", (leaf("exact h.2"), leaf("exact\n  h.1")), ((0, 0), (1, 0)))
    tree = ProofNode("constructor", (leaf("rfl"), inner), ((0, 0), (1, 0)))
    assert to_script(tree, bullets=False) == (
        "constructor\nfocus rfl\nfocus\n  constructor\n  focus exact h.2\n  focus\n    exact\n      h.1"
    )


def test_goals_out_of_order_follow_leans_list() -> None:
    tree = ProofNode("constructor", (leaf("second"), leaf("first")), ((1, 0), (0, 0)))
    assert to_script(tree) == "constructor\n· first\n· second"


def test_shared_metavariables_are_worked_on_with_focus() -> None:
    tree = ProofNode("refine ⟨?_, ?_⟩", (ProofNode("exact p 3", goals=2),), ((0, 0), (0, 1)))
    assert to_script(tree) == "refine ⟨?_, ?_⟩\nfocus exact p 3"


def test_a_goal_between_two_of_a_group_comes_first() -> None:
    tree = ProofNode("apply f", (ProofNode("exact a", goals=2), leaf("exact b")), ((0, 0), (1, 0), (0, 1)))
    assert to_script(tree) == "apply f\nrotate_left\n· exact b\nrotate_left\nfocus exact a"


def test_a_long_proof_needs_no_deep_stack() -> None:
    tree = leaf("rfl")
    for i in range(5000):
        tree = ProofNode(f"skip{i}", (tree,), ((0, 0),))
    assert len(to_script(tree).split("\n")) == tree.size == 5001
