"""The fixtures of tests/lean."""

from tests.lean.conftest import auditor, loop, server

__all__ = ["auditor", "loop", "server"]
