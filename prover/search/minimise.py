"""A shorter proof of the same theorem: steps dropped, merged or replaced, each change checked by Lean."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from prover.lean.theorem import Proof, ProofNode, Theorem
from prover.search.extract import to_script

CLOSERS: tuple[str, ...] = ("rfl", "trivial", "assumption", "simp", "omega", "decide", "simp_all")
"""Tactics that often finish a goal by themselves, cheapest first."""

Check = Callable[[str], Awaitable[bool]]
"""Whether a script proves the theorem."""

_INTRO = re.compile(r"intros? (?P<names>[^;<|\n]+)")
_REWRITE = re.compile(r"(?P<name>rw|simp only|simp) \[(?P<rules>[^\[\]\n]+)\]")


async def minimise(
    theorem: Theorem, tree: ProofNode, check: Check, *, closers: tuple[str, ...] = CLOSERS, max_checks: int = 64
) -> Proof:
    """The shortest proof that at most `max_checks` checks find by local changes, largest savings first.

    Every accepted change lowers (tactics, characters), so this ends. The tree given is returned where nothing is
    shorter. Checks are made one after the other: the same checks give the same proof.
    """
    seen = {to_script(tree)}
    checks = 0
    improved = True
    while improved and checks < max_checks:
        improved = False
        for candidate in _shorter(tree, closers):
            script = to_script(candidate)
            if script in seen:
                continue
            if checks == max_checks:
                break
            seen.add(script)
            checks += 1
            if await check(script):
                tree = candidate
                improved = True
                break
    return Proof(theorem, to_script(tree), tree)


def _shorter(tree: ProofNode, closers: tuple[str, ...]) -> Iterator[ProofNode]:
    """Whole proofs that differ from `tree` in one place and are shorter, whether or not they hold."""
    places = list(_places(tree))
    sizes = {path: node.size for path, node in places}
    for path, node in sorted(places, key=lambda p: -sizes[p[0]]):
        if node.goals == 1 and sizes[path] > 1:
            for tactic in closers:
                yield _put(tree, path, ProofNode(tactic))
    for path, node in places:
        if len(node.children) == 1 and node.children[0].goals == node.goals:
            child = node.children[0]
            yield _put(tree, path, child)
            merged = _merge(node.tactic, child.tactic) if node.goals == 1 else None
            if merged is not None:
                yield _put(tree, path, replace(child, tactic=merged))
    for path, node in places:
        for tactic in _simpler(node.tactic):
            yield _put(tree, path, replace(node, tactic=tactic))


_Path = tuple[int, ...]


def _places(tree: ProofNode) -> Iterator[tuple[_Path, ProofNode]]:
    """Every node with its path of child indices, parents first."""
    stack: list[tuple[_Path, ProofNode]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        yield path, node
        stack.extend(((*path, i), c) for i, c in reversed(list(enumerate(node.children))))


def _put(tree: ProofNode, path: _Path, new: ProofNode) -> ProofNode:
    """The tree with the node at `path` replaced."""
    above: list[ProofNode] = []
    node = tree
    for i in path:
        above.append(node)
        node = node.children[i]
    for parent, i in zip(reversed(above), reversed(path), strict=True):
        new = replace(parent, children=(*parent.children[:i], new, *parent.children[i + 1 :]))
    return new


def _merge(first: str, second: str) -> str | None:
    """One tactic for two that follow each other, for `intro`s and for rewriting by lists."""
    a, b = _INTRO.fullmatch(first), _INTRO.fullmatch(second)
    if a and b:
        return f"intro {a['names'].strip()} {b['names'].strip()}"
    a, b = _REWRITE.fullmatch(first), _REWRITE.fullmatch(second)
    if a and b and a["name"] == b["name"]:
        return f"{a['name']} [{a['rules']}, {b['rules']}]"
    return None


def _simpler(tactic: str) -> Iterator[str]:
    """Shorter forms of one tactic: without what follows `<;>`, without one rewrite rule."""
    if " <;> " in tactic and "\n" not in tactic:
        yield tactic.rsplit(" <;> ", 1)[0]
    match = _REWRITE.fullmatch(tactic)
    if match:
        rules = match["rules"].split(", ")
        for i in range(len(rules)):
            left = [*rules[:i], *rules[i + 1 :]]
            if left:
                yield f"{match['name']} [{', '.join(left)}]"
            elif match["name"] == "simp":
                yield "simp"
