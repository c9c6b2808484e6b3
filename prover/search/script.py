"""Checks of proof scripts in Lean."""

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
    """A check whether a script closes `root` in one step. Each check costs one Lean call."""

    async def check(script: str) -> bool:
        (result,) = await env.step(root, (script,))
        await env.free(result.states)
        return result.solved

    return check


async def checked_script(tree: ProofNode, check: Check) -> str:
    """`to_script`, with `focus` blocks instead of bullets where only they work.

    `·` is notation of Init.NotationExtra, which library theorems below that module do not import. A script with bullets
    takes one check, or two where the bullets fail; others take none.
    """
    script = to_script(tree)
    plain = to_script(tree, bullets=False)
    if script == plain or await check(script) or not await check(plain):
        return script
    return plain
