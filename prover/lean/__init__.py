"""Lean as an environment: theorems, servers, pools and the audit."""

from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, LeanServer, Limits
from prover.lean.theorem import Goal, Proof, ProofNode, ProofState, StepResult, Theorem, Verdict

__all__ = [
    "Auditor",
    "Goal",
    "LeanDied",
    "LeanError",
    "LeanPool",
    "LeanServer",
    "Limits",
    "Proof",
    "ProofNode",
    "ProofState",
    "StepResult",
    "Theorem",
    "Verdict",
]
