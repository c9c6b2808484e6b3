"""Finds theorems that nearly repeat another one, so that training does not contain near-copies of evaluated theorems.

Statements are compared as sets of three tokens in a row (Jaccard similarity; Broder 1997). A split by a hash of the name puts
`List.map_map` and `Array.map_map` on different sides.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

ALIKE = 0.8
"""Similarity from which a statement is a near-copy."""
_TOKEN = re.compile(r"[^\W\d][\w.'!?]*|\d+|[^\s\w]+")
_VARIABLE = re.compile(r"[^\W\d_][\w']{0,2}")

_NAMES = r"[^\W\d][\w'!?]*(?:\s+[^\W\d][\w'!?]*)*"
_BOUND = re.compile(rf"[({{\[⦃]\s*({_NAMES})\s*:|(?:[∀∃λΣΠ]!?|\bfun\b)\s*({_NAMES})")
_SYMBOL = re.compile(r"[^\W\d][\w.'!?]*|\d+|[()\[\]]|[^\s\w()\[\]]+")
_BINDER_SIGNS = str.maketrans({"{": "(", "}": ")", "⦃": "(", "⦄": ")", "∀": " ", ",": " ", ":": " "})

Shingles = frozenset[str]


def shingles(statement: str) -> Shingles:
    """All runs of three tokens. Short names become `x`, because in the library they are variables. A short statement is one shingle."""
    return _in_threes(["x" if _VARIABLE.fullmatch(t) else t for t in _TOKEN.findall(statement)])


def shingles_up_to_names(statement: str) -> Shingles:
    """All runs of three tokens. Each bound variable becomes the number of its first use. Binders before the colon count like a leading `∀`.

    This is for theorems whose constants may have short names (`add`), or that differ only in the order of variables (`p → q → p`).
    """
    bound = {name for m in _BOUND.finditer(statement) for name in (m[1] or m[2]).split()}
    places: dict[str, int] = {}

    def shown(token: str) -> str:
        head, dot, rest = token.partition(".")
        return f"_{places.setdefault(head, len(places))}{dot}{rest}" if head in bound else token

    return _in_threes([shown(t) for t in _SYMBOL.findall(statement.translate(_BINDER_SIGNS))])


def _in_threes(tokens: Sequence[str]) -> Shingles:
    return frozenset(" ".join(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))) if tokens else frozenset()


def near_copies(
    candidates: Mapping[str, str], kept: Mapping[str, str], parts: Callable[[str], Shingles] = shingles
) -> dict[str, str]:
    """Candidate -> the most similar kept theorem, for candidates that nearly repeat one. Both parameters map names to statements.

    If two sets have similarity ALIKE, at most some number m of members of each is missing in the other, so they share one of their m + 1
    rarest members (prefix filtering; Bayardo, Ma and Srikant 2007). Only these are indexed, so the time is near-linear for varied statements.
    """
    known: dict[Shingles, str] = {}
    for name, text in kept.items():
        known.setdefault(parts(text), name)
    used = Counter(part for one in known for part in one)

    def rarest(one: Shingles) -> Iterable[str]:
        return sorted(one, key=lambda part: (used[part], part))[: len(one) - math.ceil(ALIKE * len(one) - 1e-9) + 1]

    having: dict[str, list[Shingles]] = defaultdict(list)
    for one in known:
        for part in rarest(one):
            having[part].append(one)
    found: dict[str, str] = {}
    for name, text in candidates.items():
        mine = parts(text)
        if mine in known and mine:
            found[name] = known[mine]
            continue
        near = {other for part in rarest(mine) for other in having.get(part, ())}
        alike = [(len(mine & other) / len(mine | other), known[other]) for other in near]
        best = max(alike, default=(0.0, ""))
        if best[0] >= ALIKE:
            found[name] = best[1]
    return found
