"""Tries small instances of a statement against it: most false statements fail for numbers such as 0, or for an empty list."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from prover.lean.text import masked
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.search import Environment

NAME = "instances"
"""Stands for this method among the names of provers."""
CHUNKS = (8, 24, 32)
"""Instances of each Lean call. The last call has random ones."""
MOST_BINDERS = 12
_NATURALS = frozenset(("Nat", "ℕ", "UInt8", "UInt16", "UInt32", "UInt64", "USize"))
_INTEGERS = frozenset(("Int", "ℤ", "Rat", "ℚ", "Real", "ℝ", "Int8", "Int16", "Int32", "Int64"))
_SIMPLE = {
    "Bool": ("true", "false"),
    "Prop": ("True", "False"),
    "Unit": ("()",),
    "PUnit": ("⟨⟩",),
    "Empty": (),
    "PEmpty": (),
    "Char": ("'a'", "' '"),
    "String": ('""', '"a"', '"ab"'),
    "Type": ("Nat", "Bool", "Unit", "Empty"),
}
_UNIVERSES = ("PUnit", "ULift Nat", "ULift Bool", "PEmpty")
"""Types of any universe."""


@dataclass(frozen=True)
class Instance:
    """Arguments for all binders of a statement, and the values among them by name."""

    arguments: tuple[str, ...]
    values: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.values)


@dataclass(frozen=True)
class Refutation:
    """A proof of the negation, or None, and the Lean calls that were made."""

    script: str | None
    calls: int
    reason: str = ""


async def refute(
    theorem: Theorem, root: ProofState, negated: ProofState, env: Environment, most_calls: int
) -> Refutation:
    """Prove a negation by an instance. Makes at most 4 Lean calls, and 5 more to find the instance among those of a call. Stops at
    `most_calls` unless an instance is found.

    `theorem`: the negation. `root`: the state of the statement, whose binders are introduced. `negated`: the state of `theorem`.
    """
    calls, goal = await _introduced(root, env)
    if goal is None or not 0 < len(goal.hypotheses) <= MOST_BINDERS:
        return Refutation(None, calls)
    for chunk in _chunks(goal, theorem.context):
        if calls >= most_calls or not chunk:
            break
        calls += 1
        if await _proves(chunk, theorem, negated, env):
            while len(chunk) > 1:  # find the instance, so that the proof names it
                half = chunk[: len(chunk) // 2]
                calls += 1
                chunk = half if await _proves(half, theorem, negated, env) else chunk[len(half) :]
            return Refutation(_script(chunk, theorem), calls, f"its negation is proved: false for {chunk[0]}")
    return Refutation(None, calls)


async def _introduced(root: ProofState, env: Environment) -> tuple[int, Goal | None]:
    """(Lean calls, the goal after `intros`)."""
    (result,) = await env.step(root, ("intros",))
    await env.free(result.states)
    states = result.states if result.ok else (root,)
    return 1, states[0].goals[0] if states and states[0].goals else None


async def _proves(chunk: Sequence[Instance], theorem: Theorem, negated: ProofState, env: Environment) -> bool:
    (result,) = await env.step(negated, (_script(chunk, theorem),))
    await env.free(result.states)
    return result.solved


def _script(chunk: Sequence[Instance], theorem: Theorem) -> str:
    closing = "decide | simp | omega"
    if "Mathlib" in theorem.imports:  # elsewhere an unknown tactic, which would not parse
        closing += " | norm_num"
    tries = []
    for instance in chunk:
        arguments = " ".join(a or f"(by first | infer_instance | {closing})" for a in instance.arguments)
        tries.append(f"exact absurd (@h {arguments}) (by first | {closing})")
    body = tries[0] if len(tries) == 1 else "first\n" + "\n".join(f"| {t}" for t in tries)
    return f"intro h\n{body}"


def _chunks(goal: Goal, context: str) -> Iterator[list[Instance]]:
    """Instances in the order of their size, then random ones."""
    types = _Types(goal, context)
    small = types.by_size(goal.hypotheses)
    seen: set[tuple[str, ...]] = set()
    for size in CHUNKS[:-1]:
        chunk = list(islice(small, size))
        seen.update(x.arguments for x in chunk)
        yield chunk
    source = random.Random(0)
    found = {}
    for _ in range(4 * CHUNKS[-1]):
        drawn = types.drawn(goal.hypotheses, source)
        if drawn is not None and drawn.arguments not in seen:
            found[drawn.arguments] = drawn
    yield list(found.values())[: CHUNKS[-1]]


class _Types:
    """Values of the types that a goal prints."""

    def __init__(self, goal: Goal, context: str) -> None:
        self.near = _numerals(goal.text)
        self.constructors = _constructors(context)

    def by_size(self, binders: Sequence[tuple[str, str]]) -> Iterator[Instance]:
        """Instances in the order of the sum of the indices of their values."""
        idle = 0
        for size in range(10_000):
            empty = True
            for instance in self._of_size(binders, 0, {}, size):
                empty = False
                yield instance
            idle = idle + 1 if empty else 0
            if idle > 8:
                return

    def _of_size(
        self, binders: Sequence[tuple[str, str]], at: int, chosen: dict[str, str | None], size: int
    ) -> Iterator[Instance]:
        if at == len(binders):
            if size == 0:
                yield _instance(binders, chosen)
            return
        name, type_ = binders[at]
        values = self.values(_with(type_, chosen))
        if values is None:
            yield from self._of_size(binders, at + 1, {**chosen, name: None}, size)
            return
        for i, value in enumerate(values[: size + 1]):
            yield from self._of_size(binders, at + 1, {**chosen, name: value}, size - i)

    def drawn(self, binders: Sequence[tuple[str, str]], source: random.Random) -> Instance | None:
        """A random instance; None if a drawn type is empty."""
        chosen: dict[str, str | None] = {}
        for name, type_ in binders:
            values = self.values(_with(type_, chosen))
            if values == []:
                return None
            chosen[name] = None if values is None else source.choice(values)
        return _instance(binders, chosen)

    def values(self, type_: str) -> list[str] | None:
        """Some values of a type, the smallest first, as terms in brackets. None for propositions, classes and other types."""
        type_ = _unwrapped(type_)
        if type_ in _SIMPLE:
            return [*_SIMPLE[type_]]
        if type_ in _NATURALS:
            return [str(n) for n in [0, 1, 2, 3, *self.near, *range(4, 21), 25, 30, 50, 64, 100, 1000]]
        if type_ in _INTEGERS:
            whole = [
                0,
                1,
                -1,
                2,
                -2,
                3,
                -3,
                *(m for n in self.near for m in (n, -n)),
                *range(4, 12),
                *range(-4, -12, -1),
                100,
                -100,
            ]
            return [str(n) if n >= 0 else f"({n})" for n in whole]
        if type_ in self.constructors:
            return self.constructors[type_]
        if re.match(r"(Type|Sort)\b", type_):
            return [*(f"({u})" if " " in u else u for u in _UNIVERSES)]
        for arrow in ("→", "×"):
            if (parts := _split(type_, arrow)) is not None:
                return self._function(*parts) if arrow == "→" else self._pair(*parts)
        head, _, rest = type_.partition(" ")
        if head in ("Fin", "BitVec") and rest.isdigit():
            return [str(n) for n in range(min(int(rest), 8))] if head == "Fin" else ["0", "1", "2", "3", "(-1)"]
        if head in ("List", "Array", "Option", "ULift") and (inner := self.values(rest)) is not None:
            return _containers(head, inner)
        return None

    def _function(self, domain: str, codomain: str) -> list[str] | None:
        inner = self.values(codomain)
        if inner is None or self.values(domain) is None:
            return None
        found = [f"(fun _ => {v})" for v in inner[:3]]
        same = _unwrapped(domain) == _unwrapped(codomain)
        found[1:1] = ["(fun x => x)"] if same else []
        numeric = _unwrapped(domain) in _NATURALS | _INTEGERS
        if same and numeric:
            found += ["(fun x => x + 1)", "(fun x => 2 * x)"]
        if numeric and _unwrapped(codomain) in ("Prop", "Bool"):
            found += ["(fun x => x = 0)", "(fun x => x ≠ 0)", "(fun x => x % 2 = 0)"]
        return found

    def _pair(self, first: str, second: str) -> list[str] | None:
        left, right = self.values(first), self.values(second)
        if left is None or right is None:
            return None
        return [
            f"({a}, {b})"
            for size in range(4)
            for i, a in enumerate(left[: size + 1])
            for b in right[size - i : size - i + 1]
        ]


def _instance(binders: Sequence[tuple[str, str]], chosen: dict[str, str | None]) -> Instance:
    arguments = tuple(chosen[name] or "" for name, _ in binders)
    return Instance(arguments, tuple((name, value) for name, value in chosen.items() if value is not None))


def _with(type_: str, chosen: dict[str, str | None]) -> str:
    """The type with the chosen values for the variables that it names."""
    for name, value in chosen.items():
        if value is not None and name in type_:
            type_ = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w'.])", lambda _, v=value: v, type_)
    return type_


def _containers(head: str, inner: list[str]) -> list[str]:
    if head == "ULift":
        return [f"⟨{v}⟩" for v in inner]
    if head == "Option":
        return ["none", *(f"(some {v})" for v in inner[:4])]
    a, b = [*inner[:2], *inner[-1:]][:2] if inner else ("", "")
    lists = ["", a, b, f"{a}, {b}", f"{b}, {a}", f"{a}, {a}", f"{b}, {a}, {b}"] if inner else [""]
    return [f"{'#' * (head == 'Array')}[{x}]" for x in lists]


def _numerals(text: str) -> list[int]:
    """The numbers that a goal mentions, and their neighbours."""
    found = [int(n) for n in re.findall(r"(?<![\w.])\d{1,6}(?![\w.])", text)]
    near = dict.fromkeys(m for n in found for m in (n, n + 1, n - 1) if m > 3)
    return [*near][:9]


def _constructors(context: str) -> dict[str, list[str]]:
    """The constructors of the types that the context defines. Those with arguments do no harm: such instances fail."""
    parts = re.split(r"\binductive\s+([\w.]+)", masked(context))
    return {
        name: [f".{c}" for c in re.findall(r"\|\s*(\w+)", body)][:12]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def _unwrapped(type_: str) -> str:
    type_ = type_.strip()
    while type_.startswith("(") and _closes(type_) == len(type_) - 1:
        type_ = type_[1:-1].strip()
    return type_


def _closes(text: str) -> int:
    """Index of the bracket that closes the first one."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0:
            return i
    return -1


def _split(type_: str, arrow: str) -> tuple[str, str] | None:
    """The two sides of the first `arrow` outside brackets."""
    depth = 0
    for i, c in enumerate(type_):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c == arrow:
            return type_[:i], type_[i + 1 :]
    return None
