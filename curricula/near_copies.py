"""Finds theorems that nearly repeat another one, so that training does not contain near-copies of held-out theorems.

Statements are compared as sets of three tokens in a row, without the names of variables (Jaccard similarity; Broder 1997). A split by
a hash of the name puts `List.map_map` and `Array.map_map` on different sides.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

ALIKE = 0.8
"""Similarity from which a statement is a near-copy."""
_TOKEN = re.compile(r"[^\W\d][\w.'!?]*|\d+|[^\s\w]+")
_VARIABLE = re.compile(r"[^\W\d_][\w']{0,2}")


def near_copies(candidates: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """The candidates that nearly repeat a kept theorem, each with that theorem's name. Both map names to statements."""
    known = {name: shingles(text) for name, text in kept.items()}
    having: dict[str, list[str]] = defaultdict(list)
    for name, parts in known.items():
        for part in parts:
            having[part].append(name)
    found: dict[str, str] = {}
    for name, text in candidates.items():
        mine = shingles(text)
        shared = Counter(other for part in mine for other in having[part]) if mine else Counter[str]()
        for other, n in shared.most_common():
            if n >= ALIKE * len(mine | known[other]):
                found[name] = other
                break
    return found


def shingles(statement: str) -> frozenset[str]:
    """Three tokens in a row, with `x` for each variable. Short statements are one shingle."""
    tokens = ["x" if _VARIABLE.fullmatch(t) else t for t in _TOKEN.findall(statement)]
    return frozenset(" ".join(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))) if tokens else frozenset()
