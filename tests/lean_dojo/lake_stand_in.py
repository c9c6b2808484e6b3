"""A stand-in for `lake`, for machines without native Lean: it answers `lake env lean … FILE` and nothing else.

What is real: LeanDojo's `Dojo` class on the other side of the pseudo-terminal, the file that it wrote, the JSON lines
of its REPL protocol, and the Lean that elaborates the file and runs every tactic (through our proof server). What is
not: Lean4Repl itself and the `lean` executable; the `lean_dojo_repl` tactic is taken out and its loop played here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prover.lean.leandojo.dojo import Dojo, package
from prover.lean.leandojo.locate import declarations
from prover.lean.text import masked


def respond(**fields: Any) -> None:
    # All three fields are always there, as in Lean4Repl's `deriving ToJson` for options.
    print("REPL> " + json.dumps({"sid": None, "tacticState": None, "error": None} | fields), flush=True)


def main(arguments: list[str]) -> int:
    if arguments[:2] != ["env", "lean"] or not arguments[-1].endswith(".lean"):
        print(f"lake stand-in: cannot do `lake {' '.join(arguments)}`", file=sys.stderr)
        return 1
    text = Path(arguments[-1]).read_text(encoding="utf-8")
    marker = "lean_dojo_repl\n  "
    name = [name for name, _ in declarations(masked(text[: text.index(marker)]))][-1]
    types = package()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "File.lean").write_text(text.replace("import Lean4Repl\n", "\n").replace(marker, ""))
        entry = SimpleNamespace(repo=None, file_path=Path("File.lean"), full_name=name)
        with Dojo(entry, sources=folder) as (dojo, state):
            states = {0: state}
            respond(sid=0, tacticState=state.pp)
            for line in sys.stdin:
                if line.strip() == "exit":
                    break
                request = json.loads(line)
                result = dojo.run_tac(states[request["sid"]], request["cmd"])
                if isinstance(result, types.LeanError):
                    respond(error=result.error)
                elif isinstance(result, types.ProofGivenUp):
                    respond(error="proof contains `sorry`")
                elif isinstance(result, types.ProofFinished):
                    respond(sid=result.tactic_state_id, tacticState="no goals")
                else:
                    states[result.id] = result
                    respond(sid=result.id, tacticState=result.pp)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
