"""Shortens a proof: drops, merges or replaces steps and checks each change in Lean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

from prover.lean.brackets import closing, pieces
from prover.lean.theorem import Proof, ProofNode, Theorem
from prover.search.extract import to_script
from prover.search.script import Check, checked_script

CLOSERS: tuple[str, ...] = ("rfl", "trivial", "assumption", "simp", "omega", "decide", "simp_all")
"""Tactics that often close a goal by themselves, cheapest first."""

_INTRO = re.compile(r"intros? (?P<names>[^;<|\n]+)")
_FIRST = re.compile(r"\bfirst \|")
_DEPTH = {**dict.fromkeys("([{⟨", 1), **dict.fromkeys(")]}⟩", -1)}
_REWRITE = re.compile(r"(?P<name>rw|simp only|simp) \[(?P<rules>[^\[\]\n]+)\]")
_LIST = re.compile(
    r"(?P<head>\b(?P<name>simp_all|simp_arith|simpa|simp|dsimp|grind|erw|rwa|rw|norm_num|field_simp|push_cast|nlinarith|linarith)"
    r"(?P<options>[!?]?(?: [+-]\w+)*(?: only)?)) \["
)
_NEEDS_LIST = ("rw", "rwa", "erw")


async def minimise(
    theorem: Theorem, tree: ProofNode, check: Check, *, max_checks: int = 64, seconds: float = math.inf
) -> Proof:
    """Shorten a proof by local changes, largest savings first, with at most `max_checks` checks started within `seconds`.

    Every accepted change lowers (tactics, characters), so this ends. Checks run one after the other: the same results
    give the same proof. Without a shorter proof the given tree is returned. `checked_script` adds up to two checks.
    """
    until = perf_counter() + seconds
    first = await checked_script(tree, check)
    bullets = first == to_script(tree)
    seen = {first}
    checks = 0
    improved = True
    while improved:
        improved = False
        for candidate in _shorter(tree):
            script = to_script(candidate, bullets=bullets)
            if script in seen:
                continue
            if checks == max_checks or perf_counter() >= until:
                return Proof(theorem, to_script(tree, bullets=bullets), tree)
            seen.add(script)
            checks += 1
            if await check(script):
                tree = candidate
                improved = True
                break
    return Proof(theorem, to_script(tree, bullets=bullets), tree)


def _shorter(tree: ProofNode) -> Iterator[ProofNode]:
    """Candidates: proofs that differ from `tree` in one place and are shorter. They may be wrong."""
    places = list(_places(tree))
    sizes = {path: node.size for path, node in places}
    for path, node in sorted(places, key=lambda p: -sizes[p[0]]):
        if node.goals == 1 and sizes[path] > 1:
            for tactic in CLOSERS:
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
    for path, node in places:
        if sizes[path] == node.goals == 1 and _LIST.search(node.tactic):
            for tactic in (t for t in CLOSERS if len(t) < len(node.tactic)):
                yield _put(tree, path, ProofNode(tactic))


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
    """One tactic for two consecutive ones: `intro`s, or rewrites with a list. None for others."""
    a, b = _INTRO.fullmatch(first), _INTRO.fullmatch(second)
    if a and b:
        return f"intro {a['names'].strip()} {b['names'].strip()}"
    a, b = _REWRITE.fullmatch(first), _REWRITE.fullmatch(second)
    if a and b and a["name"] == b["name"]:
        return f"{a['name']} [{a['rules']}, {b['rules']}]"
    return None


def _simpler(tactic: str) -> Iterator[str]:
    """Shorter forms of a tactic: without some alternatives of a `first`, without one part of `A; B`, without the last
    `<;>`, or without some entries of a list of lemmas."""
    lines = tactic.split("\n")
    if len(lines) > 1:
        for i, line in enumerate(lines):
            bare = line.lstrip()
            for shorter in _simpler(bare):
                yield "\n".join([*lines[:i], line[: len(line) - len(bare)] + shorter, *lines[i + 1 :]])
        return
    for start, end, alternatives in _firsts(tactic):
        # Halves first: they find the only successful one of sixteen alternatives in about six checks.
        for left in _fewer(alternatives) if len(alternatives) > 1 else [alternatives]:
            yield tactic[:start] + _first(left, alone=end - start == len(tactic)) + tactic[end:]
    parts = tactic.split("; ")
    if len(parts) > 1 and not set(tactic) & {*_DEPTH, "|"}:
        yield from ("; ".join([*parts[:i], *parts[i + 1 :]]) for i in range(len(parts)))
    if " <;> " in tactic:
        yield tactic.rsplit(" <;> ", 1)[0]
    for match in _LIST.finditer(tactic):
        yield from _shorter_lists(tactic, match)


def _shorter_lists(tactic: str, match: re.Match[str]) -> Iterator[str]:
    """The tactic without a list of lemmas, or without some of its entries."""
    end = closing(tactic, match.end() - 1)
    if end < 0:
        return
    optional = match["name"] not in _NEEDS_LIST and not match["options"].endswith("only")
    if optional:
        yield tactic[: match.end("head")] + tactic[end + 1 :]
    for left in _fewer(pieces(tactic[match.end() : end], ",")):
        yield tactic[: match.end()] + ", ".join(left) + tactic[end:]


def _fewer(entries: list[str]) -> Iterator[list[str]]:
    """The entries without a half, a quarter, … or one of them (Zeller 1999, ddmin)."""
    size = (len(entries) + 1) // 2
    while len(entries) > 1:
        # From the end: without the second half comes first.
        for i in reversed(range(0, len(entries), size)):
            yield [*entries[:i], *entries[i + size :]]
        if size == 1:
            return
        size = (size + 1) // 2


def _firsts(tactic: str) -> Iterator[tuple[int, int, list[str]]]:
    """(start, end, alternatives) of each `first | A | B …` in a line. It ends with its enclosing bracket, and text
    inside brackets belongs to one alternative."""
    for match in _FIRST.finditer(tactic):
        alternatives = [""]
        outside = ""  # the current alternative without bracketed text
        depth = 0
        end = match.end()
        for end in range(match.end(), len(tactic) + 1):
            c = tactic[end : end + 1]
            depth += _DEPTH.get(c, 0)
            if depth < 0:
                break
            outside += c if depth == 0 else " "
            if c == "|" and depth == 0 and "first" not in outside.split():  # else it belongs to the inner `first`
                alternatives.append("")
                outside = ""
            else:
                alternatives[-1] += c
        yield match.start(), end, [a.strip() for a in alternatives]


def _first(alternatives: list[str], alone: bool) -> str:
    """`first` with these alternatives. A single alternative stands by itself, without brackets where that is safe."""
    if len(alternatives) > 1:
        return "first | " + " | ".join(alternatives)
    (only,) = alternatives
    bracketed = only.startswith("(") and closing(only) == len(only) - 1
    return only[1:-1].strip() if bracketed and (alone or not set(only) & set(";|")) else only
