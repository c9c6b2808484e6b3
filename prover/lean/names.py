"""Regular expressions for Lean identifiers."""

from __future__ import annotations

import re

_HEAD = r"[^\W\d]|[\U0001D400-\U0001D7FF]"
_REST = r"[\w'!?✝₀-₉ₐ-ₜᵢ-ᵪ\U0001D400-\U0001D7FF]"
ATOM = rf"(?:«[^»\n]*»|(?:{_HEAD}){_REST}*)"
"""One component of a name."""
IDENTIFIER = re.compile(rf"(?<![\w'?✝.`]){ATOM}(?:\.(?:{ATOM}|\d+))*")
"""A whole Lean identifier with its dotted components (`Nat.lt_succ`, `h.1`)."""
