"""The sandbox layer by layer: each attack runs with the earlier layers switched off and is stopped by the next."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from side_module import lean

from prover.commands import doctor
from prover.lean.embedded import install, patch
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.sandbox import bubblewrap, landlock, probes, seal, seccomp
from prover.lean.sandbox.seal import ALL, CALLS, FILES, LIMITS, PLACE, PRIVILEGES, Seal, Sealing
from prover.lean.server import LeanServer

pytestmark = pytest.mark.lean

SYSTEM_OFF = tuple(ALL - {LIMITS, PLACE})  # Node needs its stack limit


# -- inside: from Lean text to JavaScript ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """What an attack is after."""

    folder: Path
    port: int

    def attack(self, worker: bool = False) -> str:
        """JavaScript that tries everything and prints what became of it. `worker`: from a thread that asks to be free of Node's
        permissions."""
        script = f"""
const fs = require("fs"), out = {{}};
const attempt = (name, f) => {{ try {{ f(); out[name] = "done" }} catch (e) {{ out[name] = e.code || e.message }} }};
attempt("read", () => fs.readFileSync("{self.folder}/secret"));
attempt("list", () => fs.readdirSync("{self.folder}"));
attempt("write", () => fs.writeFileSync("{self.folder}/new", ""));
attempt("mode", () => fs.chmodSync("{self.folder}/secret", 0o600));
attempt("spawn", () => {{ const done = require("child_process").spawnSync("true"); if (done.error) throw done.error }});
attempt("signal", () => process.kill({os.getpid()}, 0));
"""
        say = 'fs.writeSync(1, "\\nTRIED" + JSON.stringify(out) + "\\n");'
        if not worker:
            return script + 'attempt("thread", () => new (require("worker_threads").Worker)("", {eval: true}));' + say
        script += f"""
const flag = require("worker_threads").workerData;
const end = (how) => {{ out.connect = how; {say} Atomics.store(flag, 0, 1); Atomics.notify(flag, 0) }};
require("net").connect({self.port}, "127.0.0.1").on("connect", () => end("done")).on("error", (e) => end(e.code));
"""
        return f"""
const flag = new Int32Array(new SharedArrayBuffer(4));
new (require("worker_threads").Worker)({json.dumps(script)}, {{ eval: true, execArgv: [], workerData: flag }});
Atomics.wait(flag, 0, 0, 20000)"""


@pytest.fixture
def target() -> Iterator[Target]:
    with probes.target() as (folder, port):
        yield Target(folder, port)


@pytest.fixture(scope="module")
def embedded() -> LeanRuntime:
    return find_runtime("embedded")


@pytest.fixture(scope="module")
def opened(embedded: LeanRuntime, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, LeanRuntime]:
    """The embedded Lean with a lean.js that is not sealed. By whether anybody may have the class that starts threads."""
    root = install.embedded_dir()
    runtimes = {}
    for threads in (False, True):
        folder = tmp_path_factory.mktemp("opened")
        for file in root.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "lean.js").unlink()
        text = (root / "lean.js").read_text(encoding="utf-8")
        for old, new in patch.SEALED:
            assert text.count(new) == 1, new
            if threads or "Worker" not in old:
                text = text.replace(new, old)
        if threads:
            text = "\n".join(line for line in text.splitlines() if not line.startswith("  Object.defineProperty("))
        (folder / "lean.js").write_text(text, encoding="utf-8")
        command = [str(folder / "lean.js") if word == str(root / "lean.js") else word for word in embedded.command]
        command.insert(command.index("--permission") + 1, f"--allow-fs-read={folder}")
        runtimes[threads] = replace(embedded, command=tuple(command), seal=embedded.seal.reading(str(folder)))
    return runtimes


def without(runtime: LeanRuntime, *flags: str, layers: tuple[str, ...] = ()) -> LeanRuntime:
    command = tuple(word for word in runtime.command if word not in flags)
    return replace(runtime, command=command, seal=runtime.seal.without_layers(*layers))


EVAL = "--disallow-code-generation-from-strings"


def said(runtime: LeanRuntime, source: str) -> str:
    """All that a server says when the audit hands it this source."""
    request = {
        "id": 1,
        "cmd": "declare",
        "source": source,
        "file": "<attack>",
        "imports": ["Init"],
        "heartbeats": 200_000_000,
        "ms": 100_000,
    }
    with contextlib.closing(Sealing(runtime.seal, runtime.command)) as sealing:
        done = subprocess.run(
            sealing.command,
            input=f"nonce:\n{json.dumps(request)}\n".encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=runtime.env,
            cwd=sealing.cwd,
            pass_fds=sealing.fds,
            preexec_fn=sealing.apply,
            timeout=300,
        )
    return done.stdout.decode(errors="replace")


def ran(out: str) -> bool:
    """Whether the attack's JavaScript ran."""
    return any(line.startswith("TRIED") for line in out.splitlines())


def tried(runtime: LeanRuntime, javascript: str) -> dict[str, str]:
    """What became of the probes. They must have been made."""
    out = said(runtime, lean(javascript))
    lines = [line for line in out.splitlines() if line.startswith("TRIED")]
    assert lines, out[-2000:]
    return json.loads(lines[0].removeprefix("TRIED"))


def test_lean_js_loads_no_side_module(embedded, target):
    out = said(without(embedded, EVAL, layers=SYSTEM_OFF), lean(target.attack()))
    assert "dynamic loading is switched off by the seal" in out and not ran(out)


def test_no_code_from_strings(opened, target):
    out = said(without(opened[False], layers=SYSTEM_OFF), lean(target.attack()))
    assert "Code generation from strings disallowed" in out and not ran(out)


def test_node_permissions_and_no_other_threads(opened, target):
    """JavaScript runs: Node's flags keep files and processes, and seal.js the threads. Signals nobody keeps but the system."""
    out = tried(without(opened[False], EVAL, layers=SYSTEM_OFF), target.attack())
    assert {out[name] for name in ("read", "list", "write", "mode", "spawn")} == {"ERR_ACCESS_DENIED"}
    assert "not a constructor" in out["thread"] and out["signal"] == "done"


def test_the_system_layers_stop_a_thread_without_node_permissions(opened, target):
    """The attack that the seal was made for: a thread without Node's permissions. It does all with the system's layers off."""
    free = tried(without(opened[True], EVAL, layers=SYSTEM_OFF), target.attack(worker=True))
    assert set(free.values()) == {"done"} and len(free) == 7
    (target.folder / "new").unlink()
    if landlock.version() < landlock.TRUNCATE_SINCE or not seccomp.supported():
        pytest.skip("this system has no Landlock of version 3, or no seccomp")
    sealed = tried(without(opened[True], EVAL), target.attack(worker=True))
    assert {sealed.pop(name) for name in ("read", "list", "write")} == {"EACCES"}
    assert set(sealed.values()) == {"EPERM"} and set(sealed) == {"mode", "spawn", "signal", "connect"}
    assert not (target.folder / "new").exists()


def test_emscriptens_functions_cannot_be_looked_up(opened, embedded):
    """Lean's interpreter looks up the name that `export` gives, and found all of emscripten's JavaScript."""
    name = "emscripten_run_script"
    source = f'@[extern "{name}", export {name}] opaque f (p : USize) : Nat\n#eval show IO Unit from IO.println (toString (f 0))\n'
    missing = "uncaught exception of type _ZTIN4lean9exceptionE"  # "could not find native implementation", which ends the process
    assert missing not in said(without(opened[False], layers=SYSTEM_OFF), source)
    assert missing in said(embedded, source)


def test_a_file_with_code_left_in_it_is_refused():
    with pytest.raises(patch.PatchError, match="is still in the file"):
        patch.refuse_code("var f=x=>eval(x);")


# -- around: each layer of the system by itself --------------------------------------------------------------------------------


def only(*layers: str) -> Seal:
    return Seal(reads=()).without_layers(*(ALL - set(layers)))


def test_everything_succeeds_without_layers(target):
    """The control: what the tests below find denied is denied by the layer."""
    everything = probes.on_files(target.folder, target.port) | probes.on_calls(target.folder)
    assert probes.succeeded(only(), everything) == set(everything)


@pytest.mark.skipif(landlock.version() == 0, reason="no Landlock here")
def test_landlock(target):
    through = probes.succeeded(only(FILES), probes.on_files(target.folder, target.port))
    newer = {"empties a file": 3, "connects": 4, "signals another process": 6}
    assert through == {name for name, since in newer.items() if landlock.version() < since}


@pytest.mark.skipif(landlock.version() == 0, reason="no Landlock here")
def test_landlock_lets_read_and_write_what_it_should(target):
    (target.folder / "inner").mkdir()
    new = target.folder / "inner" / "new"
    seal = replace(only(FILES), reads=(str(target.folder),), writes=(str(new.parent),))
    may = {
        "read": (target.folder / "secret").read_bytes,
        "write": lambda: new.write_text("x"),
        "own": Path("/proc/self/status").read_bytes,
    }
    may_not = {"write": lambda: (target.folder / "new").write_text("x"), "read": Path("/etc/passwd").read_bytes}
    assert probes.succeeded(seal, may) == set(may)
    assert probes.succeeded(seal, may_not) == set()


@pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters here")
def test_seccomp(target):
    assert probes.succeeded(only(CALLS), probes.on_calls(target.folder)) == set()
    through = probes.succeeded(
        only(CALLS), {"itself": lambda: os.kill(os.getpid(), 0), "reads": Path("/etc/passwd").read_bytes}
    )
    assert through == {"itself", "reads"}


def test_limits_and_privileges(target):
    def limited(which: int, most: int) -> None:
        if not 0 <= resource.getrlimit(which)[1] <= most:
            raise OSError

    checks = {
        "core": lambda: limited(resource.RLIMIT_CORE, 0),
        "files": lambda: limited(resource.RLIMIT_NOFILE, 4096),
        "cpu": lambda: limited(resource.RLIMIT_CPU, 24 * 3600),
        "size": lambda: limited(resource.RLIMIT_FSIZE, 0),
    }
    assert probes.succeeded(only(LIMITS), checks) == set(checks)
    assert probes.succeeded(only(LIMITS), {"write": lambda: (target.folder / "new").write_text("x")}) == set()
    if Path("/proc/self/status").exists():
        gains = {"gains": probes.may_gain_privileges}
        assert probes.succeeded(only(PRIVILEGES), gains) == set()
        assert probes.succeeded(only(), gains) == {"gains"}


# -- as Lean is started --------------------------------------------------------------------------------------------------------


def test_a_server_has_a_folder_and_an_environment_of_its_own(loop, embedded, monkeypatch):
    monkeypatch.setenv("TURNSTILE_TEST_SECRET", "secret")

    async def go() -> Path:
        async with LeanServer(embedded) as server:
            proc = Path(f"/proc/{server.pid}")
            if not proc.exists():
                pytest.skip("no /proc here")
            folder = (proc / "cwd").readlink()
            assert folder.is_dir() and not list(folder.iterdir())
            assert b"TURNSTILE_TEST_SECRET" not in (proc / "environ").read_bytes()
            status = (proc / "status").read_text()
            assert "NoNewPrivs:\t1" in status and (not seccomp.supported() or "Seccomp:\t2" in status)
            return folder

    assert not loop.run(go()).exists()


def test_without_landlock_bubblewrap_is_used(loop, embedded, monkeypatch, target):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    if not bubblewrap.working():
        assert not [layer for layer in seal.layers() if layer.name == "Landlock"][0].holds
        pytest.skip("no working bubblewrap here")

    async def go() -> None:
        async with LeanServer(embedded) as server:
            assert server.own_mb() > 100, "it is Lean that is measured, not bubblewrap"

    loop.run(go())
    script = (
        f"read x < {target.folder}/secret && echo $x; echo x > /tmp/x && echo writes; echo in; (true) && echo forks"
    )
    with contextlib.closing(Sealing(Seal(reads=()), ("/bin/sh", "-c", script))) as sealing:
        done = subprocess.run(
            sealing.command, capture_output=True, text=True, pass_fds=sealing.fds, preexec_fn=sealing.apply
        )
    assert done.stdout == "in\n", done


def test_a_system_without_any_of_it_is_told_so(loop, embedded, monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "supported", lambda: False)
    monkeypatch.setattr(bubblewrap, "working", lambda: "")
    found = {layer.name: layer for layer in seal.layers()}
    assert not found["Landlock"].holds and "bubblewrap" in found["Landlock"].says and not found["seccomp"].holds

    async def go() -> None:
        async with LeanServer(embedded) as server:
            assert server.pid

    loop.run(go())


def test_doctor_lists_each_layer_with_whether_it_holds(capsys):
    doctor.doctor(json=True)
    layers = json.loads(capsys.readouterr().out)["lean"]["protection"]
    assert {"Landlock", "bubblewrap"} & {layer["name"] for layer in layers}
    assert {"seccomp", "no new privileges", "resource limits"} <= {layer["name"] for layer in layers}
    assert all(isinstance(layer["holds"], bool) and layer["says"] for layer in layers)


def test_doctor_finds_a_layer_that_does_not_hold(monkeypatch):
    monkeypatch.setattr(seccomp.Filter, "apply", lambda self: None)
    (layer,) = [layer for layer in probes.tried(seal.layers()) if layer.name == "seccomp"]
    assert not layer.holds and "forks" in layer.says
