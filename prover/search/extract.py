"""Extracts the shortest proof from a solved graph and writes it as a Lean script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from prover.lean.theorem import ProofNode, renamed_in
from prover.search.graph import SOLVED, Edge, Graph, Node


def proof_tree(graph: Graph) -> ProofNode | None:
    """The shortest proof (fewest tactics) of the graph's root; None if unsolved.

    Sizes strictly shrink along best edges (see `status`), so this ends. A goal that is needed twice appears twice.
    """
    start = graph.root
    if start.status != SOLVED:
        return None
    done: dict[Node, ProofNode] = {}
    stack = [start]
    while stack:
        node = stack[-1]
        edge = node.best
        assert edge is not None
        missing = [c for c in edge.children if c not in done]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        # Renamings depend on the path to a goal: another tactic may leave the same goal with accessible names.
        children = tuple(replace(done[c], renamed=r) for c, r in zip(edge.children, edge.renamed, strict=True))
        done[node] = ProofNode(edge.tactic, children, edge.order, len(node.state.goals))
    return replace(done[start], renamed=renamed_in(start.state))


def last_call(graph: Graph) -> int:
    """Number of the last Lean call in the root's proof: the smallest budget that finds it. The root must be solved."""
    return max(edge.call for edge in proof_edges(graph))


def proof_edges(graph: Graph) -> Iterator[Edge]:
    """The tactics of the root's proof, each once; none if the root is not solved."""
    stack = [graph.root] if graph.root.status == SOLVED else []
    seen = set(stack)
    while stack:
        edge = stack.pop().best
        assert edge is not None
        yield edge
        new = set(edge.children) - seen
        seen |= new
        stack += new


@dataclass(eq=False, slots=True)
class _Group:
    """A group of goals in Lean's goal list, and its proof."""

    proof: ProofNode


_Place = tuple[_Group, int]
"""A goal in Lean's goal list: its group and its index in the group."""


def to_script(tree: ProofNode, *, bullets: bool = True) -> str:
    """The proof as a Lean tactic block, newline-separated, not indented.

    The script follows Lean's goal list. A single goal continues at the same indentation. One of several goals that
    shares no metavariable with the others gets a `·` block. Goals that share one use `focus`, which puts new goals at the
    front of the list. Where other groups stand between the goals of such a group, goals with blocks are rotated to the
    front and proved first.

    Limit: a ProofNode does not record which goals vanish where two groups of several goals interleave, or a group lists
    its goals in another order than Lean. The first are assumed; the audit detects a wrong assumption.

    `bullets=False` writes `focus` for `·`, which Lean's own library defines only in Init.NotationExtra.
    """
    lines: list[str] = []
    group = _Group(_with_names(tree))
    _write([(group, i) for i in range(tree.goals)], "", "", lines, bullets)
    return "\n".join(lines)


_WORD = re.compile(r"[^\s()\[\]{}⟨⟩,;:←|.]+")


def _with_names(tree: ProofNode) -> ProofNode:
    """The tree with `rename_i` where a later tactic uses a hypothesis with an inaccessible name.

    `rename_i` counts from the newest inaccessible name. Where it is used, all inaccessible names that came before get theirs too.
    """
    if not any(map(any, (n.renamed for n in tree.nodes()))):
        return tree
    # By occurrence, not by node: the renamings of a proof that is used twice depend on the path to it.
    places = [_Unnamed(tree, tree.renamed, None)]
    for place in places:  # grows in the loop: parents first
        for c, child in enumerate(place.proof.children):
            places.append(_Unnamed(child, _names_left(place, c), place))
    for place in reversed(places):  # children first
        node = place.proof
        words = set(_WORD.findall(node.tactic)).union(*place.words)
        tactic = node.tactic
        mine = place.names[0] if place.names else ()
        if mine and (place.renames or not words.isdisjoint(mine)):
            tactic = f"rename_i {' '.join(mine)}\n{tactic}"
            place.renames = True
        done = replace(node, tactic=tactic, children=tuple(reversed(place.children)), renamed=())
        if place.parent is None:
            return done
        place.parent.children.append(done)
        place.parent.words.append(words)
        place.parent.renames |= place.renames
    raise AssertionError("unreachable: the root comes last")


@dataclass(eq=False, slots=True)
class _Unnamed:
    """An occurrence of a proof, before `rename_i` is added."""

    proof: ProofNode
    names: tuple[tuple[str, ...], ...]
    """For each goal of the group, the arguments of `rename_i` when the goal comes first."""
    parent: _Unnamed | None
    children: list[ProofNode] = field(default_factory=list[ProofNode])
    """With names, in reverse order."""
    words: list[set[str]] = field(default_factory=list[set[str]])
    """Words of each child's script."""
    renames: bool = False
    """Whether `rename_i` comes here or later."""


def _names_left(place: _Unnamed, c: int) -> tuple[tuple[str, ...], ...]:
    """Names of the goals of child `c`. A goal of the group that was not first keeps the names that it already had."""
    child = place.proof.children[c]
    names = list(child.renamed) or [()] * child.goals
    waiting = place.names[1:]
    order = _order(place.proof)
    kept = min(len(waiting), len(order))
    for (k, goal), given in zip(order[len(order) - kept :], waiting[len(waiting) - kept :], strict=True):
        if k == c and given and not names[goal]:
            names[goal] = given
    return tuple(names) if any(names) else ()


def _write(places: list[_Place], indent: str, lead: str, lines: list[str], bullets: bool) -> None:
    """Append the proof of a goal list to `lines`. The first line starts with `lead`, a bullet with its indentation."""
    pad = indent + "  " if lead else indent
    first = lead

    def line(text: str) -> None:
        nonlocal first
        head, *rest = text.split("\n")
        lines.append((first or pad) + head)
        lines.extend(pad + r if r.strip() else "" for r in rest)
        first = ""

    bulleted = False
    while places:
        group = places[0][0]
        proof = group.proof
        if proof.goals == 1:
            bulleted = bulleted or len(places) > 1
            if bulleted:  # the last of several goals gets a block too
                if bullets:
                    _write([places.pop(0)], pad, pad + "· ", lines, bullets)
                else:
                    block: list[str] = []
                    _write([places.pop(0)], "", "", block, bullets)
                    line(_focus("\n".join(block)))
                continue
            line(proof.tactic)
        else:
            by = _rotation(places)
            if by:
                line(f"rotate_left {by}" if by > 1 else "rotate_left")
                places = places[by:] + places[:by]
                continue
            line(_focus(proof.tactic))
        places = _goals_after(places, group)


def _focus(tactic: str) -> str:
    if "\n" in tactic:
        return "focus\n" + "\n".join("  " + part for part in tactic.split("\n"))
    return f"focus {tactic}"


def _rotation(places: list[_Place]) -> int:
    """Positions to rotate the goal list left before its front can be proved; 0 for none."""
    group = places[0][0]
    last = max(i for i, (g, _) in enumerate(places) if g is group)
    if any(g is not group for g, _ in places[:last]):
        single = next((i for i, (g, _) in enumerate(places) if g.proof.goals == 1), None)
        if single is not None:
            return single
    return next(i for i, (g, goal) in enumerate(places) if g is group and goal == 0)


def _order(proof: ProofNode) -> tuple[tuple[int, int], ...]:
    """Lean's goal list after the tactic, as in StepResult.order; by default the order of the children."""
    return proof.order or tuple((c, g) for c, child in enumerate(proof.children) for g in range(child.goals))


def _goals_after(places: list[_Place], group: _Group) -> list[_Place]:
    """The goal list after the tactic of `group` ran on its first goal, at the front of the list.

    New goals come first. The group's other goals, which a StepResult lists in the group's order, keep their places.
    """
    proof = group.proof
    children = [_Group(c) for c in proof.children]
    new = [(children[c], g) for c, g in _order(proof)]
    behind = sorted((goal, i) for i, (g, goal) in enumerate(places) if g is group and i)
    kept = min(len(behind), len(new))
    after = dict(zip((i for _, i in behind[len(behind) - kept :]), new[len(new) - kept :], strict=True))
    rest = [after.get(i, place) for i, place in enumerate(places) if i and (place[0] is not group or i in after)]
    return new[: len(new) - kept] + rest
