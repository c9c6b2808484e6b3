"""Stands in for elan and its proxies `lean` and `lake`, which this script is called as. `stand_in.py` installs it.

It answers as elan 4 does, from the folder `toolchains` of ELAN_HOME: `elan toolchain list`, `lean +NAME --version`, `lean +NAME
--print-prefix`, `lake +NAME build` and `lake +NAME env printenv LEAN_PATH`. `elan toolchain install NAME` moves a toolchain from the
folder `offered` of ELAN_HOME, in place of a download. Every call is a line of `calls` in ELAN_HOME. Asked for a
toolchain that is not installed, real elan downloads it; this one writes `DOWNLOAD` into `calls` and fails.

`lake build` of the proof server makes an executable that is the embedded Lean behind the native command line (JavaScript that Node
loads), so it says nothing of whether the server's source compiles with the release that the toolchain claims to be. `build` in the
toolchain's folder decides how that goes: `ok`, `fails`, or `nothing` for success without an executable.

`lake update` and `lake exe cache get` stand in for the download of Mathlib: they make the folders and an empty `Mathlib.olean`, so no
Lean can import Mathlib here. `update` and `cache` in the toolchain's folder decide how they go: `offline`, `fails`, `nothing` (cache
only: success without modules), and otherwise well.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

HOME = Path(os.environ["ELAN_HOME"])
MATHLIB = Path(".lake/packages/mathlib")
MODULES = ".lake/build/lib/lean"


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
    elif args[:2] == ["toolchain", "install"]:
        offered = HOME / "offered" / folder_of(args[2]).name
        if not offered.is_dir():
            fail("could not download file: error sending request for url (https://releases.lean-lang.org)")
        offered.rename(folder_of(args[2]))
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
        if MATHLIB.is_dir():
            print(f"{(MATHLIB / MODULES).absolute()}:{Path(MODULES).absolute()}")
            return
        if not Path(MODULES).is_dir():
            fail(f"no such file or directory: {MODULES}")
        print(Path(MODULES).absolute())
    elif args == ["build"]:
        build(toolchain)
    elif args == ["update"]:
        update(how(toolchain, "update"))
    elif args == ["exe", "cache", "get"]:
        cache_get(how(toolchain, "cache"))
    else:
        fail(f"the stand-in knows no `lake {' '.join(args)}`")


def how(toolchain: Path, step: str) -> str:
    return (toolchain / step).read_text().strip() if (toolchain / step).exists() else "ok"


def update(how: str) -> None:
    tag = re.findall(r'^rev = "(.*)"$', Path("lakefile.toml").read_text(), re.MULTILINE)[0]
    print("info: mathlib: cloning https://github.com/leanprover-community/mathlib4", flush=True)
    if how == "offline":
        print("trace: stderr:\nfatal: unable to access 'https://github.com/': Could not resolve host: github.com")
        fail("external command 'git' exited with code 128")
    if how == "fails":
        fail(f"mathlib: revision not found '{tag}'")
    if os.environ.get("MATHLIB_NO_CACHE_ON_UPDATE") != "1":
        fail("the stand-in's `lake update` gets no compiled modules")
    MATHLIB.mkdir(parents=True, exist_ok=True)
    packages = [{"name": "mathlib", "inputRev": tag}]
    Path("lake-manifest.json").write_text(json.dumps({"packages": packages}))


def cache_get(how: str) -> None:
    if not Path("lake-manifest.json").exists():
        fail("missing manifest; use `lake update` to generate one")
    print("Attempting to download 2 file(s)", flush=True)
    print("Downloaded: 1 file(s) [attempted 1/2 = 50%]\rDownloaded: 1 file(s) [attempted 1/2 = 51%]", flush=True)
    if how == "fails":
        fail("leantar failed with error code 1")
    if how == "nothing":
        print("Warning: some files were not found in the cache.\nNo cache files to decompress")
        return
    (MATHLIB / MODULES).mkdir(parents=True, exist_ok=True)
    (MATHLIB / MODULES / "Mathlib.olean").touch()


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
