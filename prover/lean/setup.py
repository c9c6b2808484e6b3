"""`python -m prover.lean.setup`: find Lean, or install the embedded one, and print its name."""

from __future__ import annotations

import sys

from prover.errors import UserError
from prover.lean.runtime import find_runtime


def main() -> int:
    try:
        print(f"turnstile: {find_runtime().name} is ready", file=sys.stderr)
    except UserError as e:
        print(f"turnstile: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
