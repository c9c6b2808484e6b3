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
    """Three tokens in a row, with `x` for each short name, which in the library is a variable. Short statements are one shingle."""
    return _in_threes(["x" if _VARIABLE.fullmatch(t) else t for t in _TOKEN.findall(statement)])


def shingles_up_to_names(statement: str) -> Shingles:
    """As `shingles`, with the place of its first use for each bound variable. Binders before the colon are as those of a leading `∀`.

    This is for theorems whose own names may be short (`add`), or that differ in nothing but the order of variables (`p → q → p`).
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
    """The candidates that nearly repeat a kept theorem, each with the most similar one's name. Both map names to statements.

    Two sets of similarity ALIKE share one of their rarest members, as many as may be missing and one more (prefix filtering; Bayardo,
    Ma and Srikant 2007). An index of these alone is searched, so the time is near-linear where statements vary.
    """
    known: dict[Shingles, str] = {}
    for name, text in kept.items():
        known.setdefault(parts(text), name)
    used = Counter(part for one in known for part in one)

    def rarest(one: Shingles) -> Iterable[str]:
        return sorted(one, key=lambda part: (used[part], part))[: len(one) - math.ceil(ALIKE * len(one) - 1e-9) + 1]

    having: dict[str, list[Shingles]] = defaultdict(list)
    for one in known:
        for part in rarest(one) if one else ():
            having[part].append(one)
    found: dict[str, str] = {}
    for name, text in candidates.items():
        mine = parts(text)
        if mine in known and mine:
            found[name] = known[mine]
            continue
        near = {other for part in (rarest(mine) if mine else ()) for other in having.get(part, ())}
        alike = [(len(mine & other) / len(mine | other), known[other]) for other in near]
        best = max(alike, default=(0.0, ""))
        if best[0] >= ALIKE:
            found[name] = best[1]
    return found
