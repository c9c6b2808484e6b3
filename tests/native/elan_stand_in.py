"""Stands in for elan and its proxies `lean` and `lake`, which this script is called as. `stand_in.py` installs it.

It answers as elan 4 does, from the folder `toolchains` of ELAN_HOME: `elan toolchain list`, `lean +NAME --version`, `lean +NAME
--print-prefix`, `lake +NAME build` and `lake +NAME env printenv LEAN_PATH`. Every call is a line of `calls` in ELAN_HOME. Asked for a
toolchain that is not installed, real elan downloads it; this one writes `DOWNLOAD` into `calls` and fails.

`lake build` of the proof server makes an executable that is the embedded Lean behind the native command line (JavaScript that Node
loads), so it says nothing of whether the server's source compiles with the release that the toolchain claims to be. `build` in the
toolchain's folder decides how that goes: `ok`, `fails`, or `nothing` for success without an executable.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HOME = Path(os.environ["ELAN_HOME"])


def log(*words: str) -> None:
    with (HOME / "calls").open("a") as f:
        f.write(" ".join(words) + "\n")


def fail(why: str) -> None:
    print(f"error: {why}", file=sys.stderr)
    sys.exit(1)


def folder_of(name: str) -> Path:
    return HOME / "toolchains" / name.replace("/", "--").replace(":", "---")


def installed() -> list[str]:
    return [p.name.replace("---", ":").replace("--", "/") for p in sorted((HOME / "toolchains").iterdir())]


def elan(args: list[str]) -> None:
    if args == ["toolchain", "list"]:
        default = (HOME / "default").read_text().strip() if (HOME / "default").exists() else ""
        for name in installed():
            print(name + (" (default)" if name == default else ""))
        if not installed():
            print("no installed toolchains")
    else:
        fail(f"the stand-in knows no `elan {' '.join(args)}`")


def lean(toolchain: Path, args: list[str]) -> None:
    version = (toolchain / "version").read_text().strip()
    if args == ["--version"]:
        print(f"Lean (version {version}, x86_64-unknown-linux-gnu, commit {version.encode().hex():0<40.40}, Release)")
    elif args == ["--print-prefix"]:
        print(toolchain)
    else:
        fail(f"the stand-in knows no `lean {' '.join(args)}`")


def lake(toolchain: Path, args: list[str]) -> None:
    if args == ["env", "printenv", "LEAN_PATH"]:
        if not Path(".lake/build/lib/lean").is_dir():
            fail("no such file or directory: .lake/build/lib/lean")
        print(Path(".lake/build/lib/lean").absolute())
    elif args == ["build"]:
        build(toolchain)
    else:
        fail(f"the stand-in knows no `lake {' '.join(args)}`")


def build(toolchain: Path) -> None:
    if "LEAN_PATH" in os.environ:
        fail("the server is built with the project's LEAN_PATH")
    how = (toolchain / "build").read_text().strip()
    assert 'root = "Server"' in Path("lakefile.toml").read_text() and Path("Server.lean").exists()
    print("ℹ [1/3] Replayed Server")
    if how == "fails":
        print("✖ [2/3] Building Server\nerror: Server.lean:12:3: unknown constant 'Lean.gone'\nerror: build failed")
        sys.exit(1)
    if how == "ok":
        start = json.loads((HOME / "embedded.json").read_text())
        program = Path(".lake/build/bin/turnstile-server")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            f"#!{(toolchain / 'bin/node').resolve()} --stack-size=60000\n"
            f"Object.assign(process.env, {json.dumps(start['env'])});\n"
            f"process.argv.splice(2, Infinity, '--run', '/srv/Server.lean');\n"
            f"require({json.dumps(start['program'])});\n"
        )
        program.chmod(0o755)
    print("Build completed successfully (3 jobs).")


def main() -> None:
    tool, args = Path(sys.argv[0]).name, sys.argv[1:]
    log(tool, *args)
    if tool == "elan":
        elan(args)
        return
    if not args or not args[0].startswith("+"):
        fail(f"`{tool}` without a toolchain would obey the working folder")
    toolchain = folder_of(args[0][1:])
    if not toolchain.is_dir():
        log("DOWNLOAD", args[0])
        fail(f"toolchain '{args[0][1:]}' is not installed")
    {"lean": lean, "lake": lake}[tool](toolchain, args[1:])


if __name__ == "__main__":
    main()
