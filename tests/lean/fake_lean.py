"""A stand-in for the proof server that misbehaves on demand. It is a fake: real Lean does not print garbage, tear lines, close
its pipes or die at a chosen moment when a test asks, and those are the faults that this is for.

It speaks the protocol for one theorem. A state is a number; any tactic leads to one new state, except
`solve`: no goals · `fail`: an error · `noise`: an answer with garbage around it · `wrong-nonce`: a false answer under another
prefix, then the true one · `torn`: half an answer, then the end · `die`: the end before an answer · `late`: an answer, then the
end · `hang`: nothing · `deaf`: closes standard input · `mute`: closes standard output · `twice`: the same answer twice ·
`stranger`: an answer to a question that nobody asked · `flood`: a megabyte without a line end, then the answer ·
`once DIR`: dies unless the file DIR exists, and makes it.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    out = sys.stdout.buffer
    if os.environ.get("FAKE_START") == "dead":
        out.write(b"no library here\n")
        return
    nonce = sys.stdin.buffer.readline().rstrip(b"\n")

    def send(message: dict, prefix: bytes = nonce, end: bytes = b"\n") -> None:
        out.write(prefix + json.dumps(message).encode() + end)
        out.flush()

    send({"ready": "fake"})
    states = 0

    def state() -> dict:
        nonlocal states
        states += 1
        return {"id": states, "key": f"{states}.0", "goals": [{"t": f"⊢ {states} = {states}"}]}

    for line in sys.stdin.buffer:
        request = json.loads(line)
        cmd = request["cmd"]
        if cmd == "load":
            hole = {"thm": 0, "states": [state()], "start": 0, "stop": 0, "decl": "t"}
            send({"id": request["id"], "errors": [], "holes": [hole]})
        elif cmd == "step":
            for q, _, tactic in request["steps"]:
                answer = {"q": q, "us": 10, "s": "ok", "states": [], "order": []}
                if tactic == "fail":
                    answer |= {"s": "error", "m": 'a\nb {"q": 1}'}
                elif tactic != "solve":
                    answer |= {"states": [state()], "order": [[0, 0]]}
                if tactic == "noise":
                    out.write(
                        b"\xff\xfe garbage \x00\n" + b'{"q": 1, "s": "ok"}\n' + nonce[:7] + b" noise before an answer "
                    )
                if tactic == "wrong-nonce":
                    send(answer | {"s": "error", "m": "forged"}, prefix=b"0" * len(nonce))
                if tactic == "flood":
                    out.write(b"x" * 2**20)
                if tactic == "stranger":
                    send(answer | {"q": 10**9})
                    send({"id": 10**9, "errors": []})
                if tactic == "torn":
                    send(answer, end=b"")
                    out.write(nonce + b'{"q": 12')
                    out.flush()
                    os._exit(1)
                if tactic == "half":
                    out.write(nonce + json.dumps(answer).encode()[:15])
                    out.flush()
                    os._exit(1)
                if tactic == "die":
                    os._exit(1)
                if tactic.startswith("once ") and not os.path.exists(tactic[5:]):
                    open(tactic[5:], "w").close()
                    os._exit(1)
                if tactic == "hang":
                    time.sleep(1000)
                if tactic == "deaf":
                    os.close(0)
                    time.sleep(1000)
                if tactic == "mute":
                    os.close(1)
                    os.close(2)
                    time.sleep(1000)
                send(answer)
                if tactic == "twice":
                    send(answer)
                if tactic == "late":
                    os._exit(1)
            send({"id": request["id"], "ok": True})
        elif cmd != "free":
            send({"id": request["id"], "error": f"the fake knows no {cmd}"})


main()
