"""A proof as a script that Lean takes as one text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from prover.lean.theorem import ProofNode, ProofState
from prover.search.extract import to_script

if TYPE_CHECKING:
    from prover.search.expansion import Environment

Check = Callable[[str], Awaitable[bool]]
"""Whether a script proves the theorem."""


def checker(env: Environment, root: ProofState) -> Check:
    """Whether a script closes `root` in one step; one Lean call each."""

    async def check(script: str) -> bool:
        (result,) = await env.step(root, (script,))
        await env.free(result.states)
        return result.solved

    return check


async def checked_script(tree: ProofNode, check: Check) -> str:
    """`to_script`; with `focus` blocks for bullets where only that holds.

    `·` is no keyword of Lean but notation of Init.NotationExtra, and theorems of the library from below that are opened
    without it. One check for a script with bullets, two where they fail, none for others.
    """
    script = to_script(tree)
    plain = to_script(tree, bullets=False)
    if script == plain or await check(script) or not await check(plain):
        return script
    return plain
