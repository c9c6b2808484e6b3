"""Whether source text may make Lean run code of its own while it is elaborated: macros, elaborators, `#eval` and their like.

Such code may spoil the process for every text that the process reads after it: a parser put into Lean's own tables makes `3` mean
`2` for the next theorem. So the audit gives it a process that nobody else's text meets. This is no filter: the answer may be yes
where nothing runs (which costs a process), never no where something does.
"""

from __future__ import annotations

import re

from prover.lean.source import masked

_WORDS = re.compile(
    r"elab|macro|(?<![a-z])run_|initialize|unsafe|extern|implemented_by|simproc|(?<![a-z])native|tactic\b|declare_|register_"
    r"|parser|unexpander|builtin|eval%|eval_expr|widget|plausible|csimp",
    re.IGNORECASE,
)
_COMMANDS = re.compile(r"#(?!check\b|check_failure\b|print\b|reduce\b|synth\b|exit\b|\()[^\W\d]")
"""`#eval`, `#guard` and those that nobody here has heard of."""
_ATTRIBUTES = re.compile(r"(?:@\[|\battribute\b\s*\[?)([^\]]*)")
_HARMLESS_WORDS = """
simp ext local scoped instance default_instance reducible irreducible semireducible inline specialize grind norm_cast simps refl
symm trans congr match_pattern class expose high low mid
"""
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
"""Attributes that only mark what they stand before; every other may be one that runs it."""


def runs_code(text: str) -> bool:
    """Whether elaborating `text` may run code that is in it."""
    if _WORDS.search(text) or _COMMANDS.search(text):
        return True
    # A `]` in a comment ends no list. The text as it is counts too: what is a comment here might be none to Lean.
    return any(
        word not in _HARMLESS
        for code in (masked(text), text)
        for found in _ATTRIBUTES.finditer(code)
        for word in re.findall(r"[^\s,←↓↑=\d-]+", found.group(1))
    )
