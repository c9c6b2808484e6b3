"""Native Leans of this machine, and which one a `lean-toolchain` file pins.

elan downloads a toolchain when one asks for it by name, so that only installed ones are asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prover.errors import UserError
from prover.files import read_file
from prover.lean.embedded.install import LEAN_VERSION
from prover.lean.source import PINNED, release_of, supported, supported_text

PIN = "lean-toolchain"
PIN_VARIABLE = "TURNSTILE_TOOLCHAIN_FILE"
"""Environment variable with the `lean-toolchain` file that decides, for this process and its children."""
CHANNELS = ("stable", "beta", "nightly")
_ASK_S = 120


@dataclass(frozen=True)
class NativeLean:
    """An installed native Lean."""

    version: str
    lean: tuple[str, ...]
    lake: tuple[str, ...]
    toolchain: str = ""
    """Its name in elan; empty if it is not elan's."""
    banner: str = ""
    """The answer to `lean --version`, which names the build."""

    def prefix(self) -> Path:
        """The toolchain's folder."""
        found = asked([*self.lean, "--print-prefix"]).strip()
        if not found:
            raise UserError(f"`{' '.join(self.lean)} --print-prefix` fails: reinstall Lean {self.version}")
        return Path(found.splitlines()[-1])


@dataclass(frozen=True)
class Pin:
    """A `lean-toolchain` file."""

    file: Path
    name: str
    """As elan names the toolchain, such as `leanprover/lean4:v4.30.0`."""

    @property
    def version(self) -> str:
        """The Lean version in the name; empty for names such as `stable` and `leanprover/lean4:nightly-2026-01-01`."""
        return version_in(self.name)


def asked(command: Iterable[str]) -> str:
    """Standard output of a command; empty if it fails."""
    try:
        done = subprocess.run([*command], capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def version_in(name: str) -> str:
    """The Lean version in the name of a toolchain or release; empty if it has none."""
    m = re.fullmatch(r"(?:leanprover/lean4:)?v?(\d+\.\d+\.\d+(?:-rc\d+)?)", name)
    return m[1] if m else ""


def full_name(name: str) -> str:
    """elan's full name of a toolchain."""
    if version := version_in(name):
        return f"leanprover/lean4:v{version}"
    return f"leanprover/lean4:{name}" if re.fullmatch(r"stable|beta|nightly(-\d{4}-\d\d-\d\d)?", name) else name


def pin_of(path: Path) -> Pin | None:
    """The `lean-toolchain` file that elan obeys for a file or folder: the nearest one at or above it. Raises UserError."""
    start = path.absolute()
    for folder in (start, *start.parents):
        file = folder / PIN
        if file.is_file():
            return read_pin(file)
    return None


def read_pin(file: Path) -> Pin:
    name = read_file(file, 4096).decode(errors="replace").strip()
    if not re.fullmatch(r"\w[\w./:+-]*", name, re.ASCII):
        raise UserError(f"{file}: is not the name of a Lean toolchain: write one such as leanprover/lean4:v{PINNED}")
    return Pin(file, full_name(name))


def obey(paths: Iterable[Path]) -> Pin | None:
    """Let the `lean-toolchain` of these files decide which Lean runs. Raises UserError if they pin different ones."""
    pins = {pin.name: pin for path in paths if (pin := pin_of(path)) is not None}
    if len(pins) > 1:
        shown = " and ".join(f"{pin.file} ({pin.name})" for pin in list(pins.values())[:2])
        raise UserError(f"{shown} pin different Leans: use one command for each")
    for pin in pins.values():
        os.environ[PIN_VARIABLE] = str(pin.file)
        return pin
    os.environ.pop(PIN_VARIABLE, None)
    return None


def obeyed() -> Pin | None:
    """The pin of the last `obey`, in this process or in the one that started it; else that of the project of `lake env`."""
    if file := os.environ.get(PIN_VARIABLE):
        return read_pin(Path(file))
    # `lake env` set LEAN_PATH, whose modules only the Lean of its project can read.
    return pin_of(Path.cwd()) if os.environ.get("LEAN_PATH") else None


def find_elan() -> str | None:
    """The program elan, on PATH or in its home."""
    home = os.environ.get("ELAN_HOME") or str(Path.home() / ".elan")
    return shutil.which("elan") or shutil.which("elan", path=os.path.join(home, "bin"))


def _is_elans(program: str) -> bool:
    """Whether it is one of elan's proxies, which are links to elan or copies beside it."""
    elan = find_elan()
    return elan is not None and os.path.dirname(os.path.realpath(program)) == os.path.dirname(os.path.realpath(elan))


def _asked_version(lean: tuple[str, ...]) -> tuple[str, str]:
    """(version, whole answer) of a `lean` program; empty if it does not answer."""
    banner = asked([*lean, "--version"]).strip()
    m = re.search(r"version (\d+\.\d+\.\d+[^\s,]*)", banner)
    return (m[1], banner) if m else ("", "")


def elan_toolchains() -> list[tuple[str, bool]]:
    """(name, whether it is the default) of elan's installed toolchains."""
    elan = find_elan()
    lines = asked([elan, "toolchain", "list"]).splitlines() if elan else []
    return [(line.split()[0], "default" in line) for line in lines if line.strip() and not line.startswith("no ")]


def _of_elan(name: str) -> NativeLean | None:
    """An installed toolchain of elan."""
    elan = find_elan()
    assert elan is not None
    tools = [shutil.which(tool, path=os.path.dirname(elan)) or shutil.which(tool) for tool in ("lean", "lake")]
    if None in tools:
        return None
    lean, lake = ((str(tool), f"+{name}") for tool in tools)
    version, banner = _asked_version(lean)
    return NativeLean(version, lean, lake, name, banner) if version else None


def plain_lean() -> NativeLean | None:
    """The `lean` on PATH, if it is not elan's."""
    lean = shutil.which("lean")
    if lean is None or _is_elans(lean):
        return None
    version, banner = _asked_version((lean,))
    lake = shutil.which("lake", path=os.path.dirname(os.path.realpath(lean))) or shutil.which("lake") or "lake"
    return NativeLean(version, (lean,), (lake,), "", banner) if version else None


def versions_installed() -> list[str]:
    """The versions of all native Leans whose names contain one."""
    found = [version for name, _ in elan_toolchains() if (version := version_in(name))]
    plain = plain_lean()
    return list(dict.fromkeys([*found, *([plain.version] if plain else [])]))


def best_installed() -> NativeLean | None:
    """The native Lean for files that no project pins: the release of the worlds, else elan's default, else the newest supported
    one."""
    if (plain := plain_lean()) is not None and supported(plain.version):
        return plain
    ranked = sorted(
        (
            ((release_of(version) == release_of(PINNED), default, release_of(version) or (0, 0)), name)
            for name, default in elan_toolchains()
            if (version := version_in(name)) and supported(version)
        ),
        reverse=True,
    )
    return next((lean for _, name in ranked if (lean := _of_elan(name)) is not None), None)


def pinned_lean(pin: Pin) -> NativeLean | None:
    """The installed native Lean that a project pins; None if it is not installed. Raises UserError if it is not supported."""
    _check_supported(pin, pin.version)
    if any(full_name(name) == pin.name for name, _ in elan_toolchains()):
        found = _of_elan(pin.name)
    else:
        plain = plain_lean()
        found = plain if plain is not None and plain.version == pin.version else None
    if found is not None:
        _check_supported(pin, found.version)
    elif pin.name.rpartition(":")[2] in CHANNELS:  # elan installs what it names today under another name
        raise UserError(
            f"{pin.file}: pins the channel {pin.name}: pin a release there, such as leanprover/lean4:v{PINNED}, so that every machine "
            "uses the same Lean"
        )
    return found


def _check_supported(pin: Pin, version: str) -> None:
    if version and not supported(version):
        raise UserError(
            f"{pin.file}: pins Lean {version}, but the proof server supports {supported_text()}: pin one of these there, or set "
            f"TURNSTILE_LEAN=embedded to use Lean {LEAN_VERSION}"
        )


def how_to_install(pin: Pin) -> str:
    """The command that installs a pinned toolchain."""
    elan = "" if find_elan() else "install elan (https://github.com/leanprover/elan) and "
    return f"{elan}run `elan toolchain install {pin.name}`"
