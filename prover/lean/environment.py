"""LeanEnvironment: the interface to Lean, on our own processes or on LeanDojo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, Self, get_args

from prover.errors import UserError
from prover.lean.server import Limits
from prover.lean.theorem import ProofState, StepResult, Theorem

EnvironmentKind = Literal["turnstile", "lean_dojo"]


class LeanEnvironment(Protocol):
    """The interface that LeanPool and LeanDojoEnvironment implement."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def open(self, theorem: Theorem) -> ProofState:
        """The theorem's first state. Raises LeanError if Lean refuses it."""
        ...

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        ...

    async def free(self, states: Sequence[ProofState]) -> None:
        """Release states."""
        ...

    async def close(self) -> None:
        """End every process."""
        ...


def open_environment(
    kind: EnvironmentKind = "turnstile", size: int = 2, limits: Limits | None = None, constants: bool = False
) -> LeanEnvironment:
    """`size` processes behind one interface; use as an async context manager.

    `turnstile`: our proof server, for any theorem. `lean_dojo`: for theorems of repositories that LeanDojo traced; needs
    native Lean. `constants`: list the constants of each goal, for premise selection (LeanDojo does not).
    """
    if kind == "turnstile":
        from prover.lean.pool import LeanPool

        return LeanPool(size, limits=limits, constants=constants)
    if kind == "lean_dojo":
        from prover.lean.leandojo.environment import LeanDojoEnvironment

        return LeanDojoEnvironment(size, limits)
    raise UserError(f"environment {kind!r}: choose one of {', '.join(get_args(EnvironmentKind))}")
