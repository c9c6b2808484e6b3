"""Three hosts with networks and file systems of their own: they join, learn, are lost, cut off and healed, and nothing is lost.

Each host is a network namespace behind a bridge. Its processes see their own `/tmp`, `/dev/shm` and `~/.ray`; the installation is the
same, as on machines with the same image. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.solve.ledger import Ledger
from tests.rl.test_training import LARGER, command, env

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.slow]

PORT = 6379
TOKEN = secrets.token_hex(32)
IMPATIENT = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


class Host:
    """A network namespace and a folder for what its processes write."""

    def __init__(self, switch: str, number: int, folder: Path) -> None:
        self.switch, self.name, self.port = switch, f"{switch}h{number}", f"p{number}"
        self.address = f"10.98.0.{number}"
        self.folder = folder
        for part in ("tmp", "shm", "ray"):
            (folder / part).mkdir(parents=True)
        (folder / "tmp").chmod(0o1777)
        ip("netns", "add", self.name)
        ip("-n", switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", switch, "link", "set", self.port, "master", "bridge", "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    def command(self, *args: str) -> list[str]:
        """A command line that runs `args` on this host."""
        ray = Path.home() / ".ray"
        ray.mkdir(exist_ok=True)
        mounts = " && ".join(
            f"mount --bind '{self.folder / part}' '{where}'"
            for part, where in (("ray", ray), ("shm", "/dev/shm"), ("tmp", "/tmp"))
        )
        script = f'{mounts} && cd /tmp && exec "$@"'
        return ["ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", script, "sh", *args]

    def environment(self) -> dict[str, str]:
        return {**env(), **IMPATIENT, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "TMPDIR": "/tmp"}

    def join(self, head: Host | None, provers: int) -> None:
        """`ray start`, as docs/scale.md says."""
        where = ["--head", f"--port={PORT}"] if head is None else [f"--address={head.address}:{PORT}"]
        settings = [
            f"--node-ip-address={self.address}",
            "--num-cpus=2",
            "--object-store-memory=100000000",
            "--include-dashboard=false" if head is None else "",
            f'--resources={{"prover": {provers}}}',
        ]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, *filter(None, settings)]
        done = subprocess.run(self.command(*ray), env=self.environment(), capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def connect(self, to: bool) -> None:
        """Plug in or pull out its cable."""
        ip("-n", self.switch, "link", "set", self.port, "up" if to else "down")

    def kill(self) -> None:
        """End all its processes at once, as a loss of power does."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[[int], Host]]:
    """Makes hosts on one switch."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("hosts are network namespaces, which need root, `ip` and `unshare`")
    switch = f"ts{os.getpid() % 100000}"
    made: list[Host] = []
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
    except subprocess.CalledProcessError as error:
        subprocess.run(["ip", "netns", "delete", switch], capture_output=True)
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")

    def make(number: int) -> Host:
        made.append(Host(switch, number, tmp_path / f"host{number}"))
        return made[-1]

    try:
        yield make
    finally:
        for host in made:
            host.kill()
        for name in [*(h.name for h in made), switch]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def attempts(folder: Path, phase: str) -> int:
    try:
        return sum(a.phase == phase for a in Ledger.open(folder, readonly=True).attempts())
    except UserError:
        return 0  # not made yet, or being made


@pytest.mark.timeout(1800)
def test_hosts_are_lost_and_cut_off_during_a_run(hosts: Callable[[int], Host], tmp_path: Path) -> None:
    head, lost, cut, late = (hosts(n) for n in (1, 2, 3, 4))
    head.join(None, 1)
    lost.join(head, 1)
    cut.join(head, 1)
    config = LARGER.replace("\nper_module = 10", "\nper_module = 30").replace("concurrent = 3", "concurrent = 2")
    (head.folder / "tmp/tiny.toml").write_text(config)
    runs = head.folder / "tmp/runs/tiny"  # only the head sees it
    where = ("--set", f"ray.address={head.address}:{PORT}", "ray.elastic=true", "learn.rounds=3")
    log = (tmp_path / "log").open("w")
    run = subprocess.Popen(
        head.command(*command("train", "tiny.toml", *where)), env=head.environment(), stdout=log, stderr=log
    )

    def wait(until: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 600
        while not until():
            assert run.poll() is None and time.monotonic() < deadline, (
                f"{what}\n" + (tmp_path / "log").read_text()[-3000:]
            )
            time.sleep(0.5)

    try:
        wait(lambda: attempts(runs, "round 1") >= 4, "no attempts")
        lost.kill()
        late.join(head, 1)
        wait(lambda: attempts(runs, "round 1") >= 12, "no attempts after a host was lost")
        cut.connect(False)
        time.sleep(20)  # several times what the cluster waits for an answer
        cut.connect(True)
        # Ray ends a node that was given up. Whoever runs the machine starts it again.
        cut.kill()
        cut.join(head, 1)
        assert run.wait(900) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        run.kill()
        run.wait()
    ledger = Ledger.open(runs, readonly=True)
    found = Counter((a.phase, a.theorem.name) for a in ledger.attempts() if not a.phase.startswith("round"))
    assert set(found.values()) == {1}, "a theorem was recorded twice"
    first = [a for a in ledger.attempts() if a.phase == "round 1"]
    said = re.search(r"train on (\d+) theorems", (tmp_path / "log").read_text())
    assert said is not None and len(first) == len({a.theorem.name for a in first}) == int(said[1]), (
        "an attempt was lost"
    )
    assert not [a.reason for a in first if a.outcome == "error"]
    assert ledger.get("learned 3") == {"version": 3} and (runs / "checkpoints/000003").is_dir()
    assert (runs / "summary.json").exists()
    for other in (lost, cut, late):  # logs of its own actors alone
        assert {p.parent.name for p in (other.folder / "tmp/runs").rglob("*") if p.is_file()} <= {"logs"}
