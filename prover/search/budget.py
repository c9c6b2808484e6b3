"""Search budgets in Lean calls, model tokens and wall time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one `Search.run`, on top of earlier runs. None: no limit.

    `lean_calls` is never exceeded. `model_tokens` and `seconds` are checked before each simulation; simulations in
    flight still finish and count.
    """

    lean_calls: int | None = None
    model_tokens: int | None = None
    """Tokens read and written, by `count_tokens` of the policy and the value. A policy without that method counts
    characters / 4; a value without it counts nothing."""
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("lean_calls", "model_tokens", "seconds"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise ValueError(f"budget {name} must not be negative, got {limit}")

    def exhausted(self, lean_calls: int, model_tokens: int, seconds: float) -> bool:
        """Whether a limit is reached."""
        return (
            (self.lean_calls is not None and lean_calls >= self.lean_calls)
            or (self.model_tokens is not None and model_tokens >= self.model_tokens)
            or (self.seconds is not None and seconds >= self.seconds)
        )

    def remaining(self, lean_calls: int, model_tokens: int, seconds: float) -> Budget:
        """The rest of the budget after these amounts are spent."""
        return Budget(
            None if self.lean_calls is None else max(0, self.lean_calls - lean_calls),
            None if self.model_tokens is None else max(0, self.model_tokens - model_tokens),
            None if self.seconds is None else max(0.0, self.seconds - seconds),
        )


NO_LIMIT = Budget()
