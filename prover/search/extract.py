"""From a solved graph to the shortest proof, and from a proof to a Lean script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from prover.lean.theorem import ProofNode, Theorem, renamed_in
from prover.search.graph import SOLVED, Graph, Node


def proof_tree(graph: Graph, root: Node | None = None) -> ProofNode | None:
    """The shortest proof (fewest tactics) that the graph holds of `root`, its root if none is given; None if unsolved.

    Sizes strictly shrink along best edges (see `status`), so this ends. Goals proved once and needed twice appear
    twice.
    """
    start = graph.root if root is None else root
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
        # What a script must rename depends on the way to a goal: another tactic may have left the same one with names.
        children = tuple(replace(done[c], renamed=r) for c, r in zip(edge.children, edge.renamed, strict=True))
        done[node] = ProofNode(edge.tactic, children, edge.order, len(node.state.goals))
    return replace(done[start], renamed=renamed_in(start.state))


def last_call(graph: Graph) -> int:
    """Of the Lean calls that the root's proof is made of, the last: the smallest budget within which it is found. The root is
    solved."""
    seen = {graph.root}
    stack = [graph.root]
    last = 0
    while stack:
        edge = stack.pop().best
        assert edge is not None
        last = max(last, edge.call)
        new = [c for c in edge.children if c not in seen]
        seen.update(new)
        stack.extend(new)
    return last


@dataclass(eq=False, slots=True)
class _Group:
    """A group of goals standing in Lean's goal list, with its proof."""

    proof: ProofNode


_Place = tuple[_Group, int]
"""A goal in Lean's goal list: its group and its index there."""


def to_script(tree: ProofNode, *, bullets: bool = True) -> str:
    """The proof as a Lean tactic block, newline-separated, not indented.

    Lean's goal list is followed exactly. A lone goal goes on at the same indentation; a goal that stands beside others
    and shares no metavariable with them gets a `·` block; a goal that does is worked on by `focus`, which leaves what
    the tactic leaves in front of the list. Where other groups stand between the goals of such a group, those that can
    have a block are brought to the front and proved first.

    Limit: where two groups of several goals interleave, or a group lists its goals in another order than Lean, and a
    tactic makes some of the goals behind it vanish, a ProofNode does not say which; the first are assumed. The audit
    tells when that is wrong.

    `bullets=False` writes `focus` for `·`, which Lean's own library has only from Init.NotationExtra on.
    """
    lines: list[str] = []
    group = _Group(_with_names(tree))
    _write([(group, i) for i in range(tree.goals)], "", "", lines, bullets)
    return "\n".join(lines)


_WORD = re.compile(r"[^\s()\[\]{}⟨⟩,;:←|.]+")


def _with_names(tree: ProofNode) -> ProofNode:
    """The tree with `rename_i` where a tactic below names a hypothesis that Lean left without a name."""
    if not any(map(any, (n.renamed for n in _nodes(tree)))):
        return tree
    # By place, not by node: what a proof that is used twice must rename depends on the way to it.
    places = [_Unnamed(tree, tree.renamed, None)]
    for place in places:  # grows meanwhile: parents first
        for c, child in enumerate(place.proof.children):
            places.append(_Unnamed(child, _names_left(place, c), place))
    for place in reversed(places):  # children first
        node = place.proof
        words = set(_WORD.findall(node.tactic)).union(*place.words)
        tactic = node.tactic
        mine = place.names[0] if place.names else ()
        if not words.isdisjoint(mine):
            tactic = f"rename_i {' '.join(mine)}\n{tactic}"
        done = replace(node, tactic=tactic, children=tuple(reversed(place.children)), renamed=())
        if place.parent is None:
            return done
        place.parent.children.append(done)
        place.parent.words.append(words)
    raise AssertionError("the root comes last")


@dataclass(eq=False, slots=True)
class _Unnamed:
    """A proof where it stands, before its hypotheses have names."""

    proof: ProofNode
    names: tuple[tuple[str, ...], ...]
    """Of each goal of its group, what `rename_i` would have to say when it comes first."""
    parent: _Unnamed | None
    children: list[ProofNode] = field(default_factory=list[ProofNode])
    """With names, in reverse order."""
    words: list[set[str]] = field(default_factory=list[set[str]])
    """Words of each child's script."""


def _names_left(place: _Unnamed, c: int) -> tuple[tuple[str, ...], ...]:
    """Names of the goals of child `c`. A goal of the group that waited while a tactic was at the first has got its names already,
    and its script has not said them yet."""
    child = place.proof.children[c]
    names = list(child.renamed) or [()] * child.goals
    waiting = place.names[1:]
    order = _order(place.proof)
    kept = min(len(waiting), len(order))
    for (k, goal), given in zip(order[len(order) - kept :], waiting[len(waiting) - kept :], strict=True):
        if k == c and given and not names[goal]:
            names[goal] = given
    return tuple(names) if any(names) else ()


def _nodes(tree: ProofNode) -> Iterator[ProofNode]:
    stack = [tree]
    while stack:
        yield (node := stack.pop())
        stack.extend(node.children)


def to_source(theorem: Theorem, tree: ProofNode) -> str:
    """`theorem NAME STATEMENT := by` and the script, indented by two. ValueError for a theorem without a statement."""
    if theorem.statement is None:
        raise ValueError(
            f"theorem {theorem.name!r} is a library theorem: it has no statement to write; write its script"
        )
    body = "\n".join("  " + line if line else line for line in to_script(tree).split("\n"))
    return f"theorem {theorem.name} {theorem.statement} := by\n{body}"


def _write(places: list[_Place], indent: str, lead: str, lines: list[str], bullets: bool) -> None:
    """Write the proof of a goal list. `lead` is the bullet that the first line starts with, or the indentation."""
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
            if bulleted:  # the last of several gets a block too
                if bullets:
                    _write([places.pop(0)], pad, pad + "· ", lines, bullets)
                else:
                    block: list[str] = []
                    _write([places.pop(0)], "", "", block, bullets)
                    line(_focus("\n".join(block)))
                continue
            line(proof.tactic)
        else:
            turn = _turn(places)
            if turn:
                line(f"rotate_left {turn}" if turn > 1 else "rotate_left")
                places = places[turn:] + places[:turn]
                continue
            line(_focus(proof.tactic))
        places = _after(places, group)


def _focus(tactic: str) -> str:
    if "\n" in tactic:
        return "focus\n" + "\n".join("  " + part for part in tactic.split("\n"))
    return f"focus {tactic}"


def _turn(places: list[_Place]) -> int:
    """How far to rotate the goal list so that its front can be worked on; 0 where it can be at once."""
    group = places[0][0]
    last = max(i for i, (g, _) in enumerate(places) if g is group)
    if any(g is not group for g, _ in places[:last]):
        single = next((i for i, (g, _) in enumerate(places) if g.proof.goals == 1), None)
        if single is not None:
            return single
    return next(i for i, (g, goal) in enumerate(places) if g is group and goal == 0)


def _order(proof: ProofNode) -> tuple[tuple[int, int], ...]:
    """Lean's goal list after the tactic, as in StepResult.order; that of the children where none is given."""
    return proof.order or tuple((c, g) for c, child in enumerate(proof.children) for g in range(child.goals))


def _after(places: list[_Place], group: _Group) -> list[_Place]:
    """The goal list after the tactic of `group` on its first goal, which stands in front.

    New goals come in front; the goals of the group that are left behind it, which a StepResult lists in the
    group's order, keep their places.
    """
    proof = group.proof
    children = [_Group(c) for c in proof.children]
    new = [(children[c], g) for c, g in _order(proof)]
    behind = sorted((goal, i) for i, (g, goal) in enumerate(places) if g is group and i)
    kept = min(len(behind), len(new))
    after = dict(zip((i for _, i in behind[len(behind) - kept :]), new[len(new) - kept :], strict=True))
    rest = [after.get(i, place) for i, place in enumerate(places) if i and (place[0] is not group or i in after)]
    return new[: len(new) - kept] + rest
