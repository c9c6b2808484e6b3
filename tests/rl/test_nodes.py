"""Machines that join and leave while tasks run, as nodes of a Ray cluster on this one."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from prover.solve.ray_start import start_ray
from rl.actors.dispatch import Finished
from rl.actors.fleet import Fleet
from rl.attempt import Task
from tests.rl.test_fleet import TASKS, check, config

pytestmark = [pytest.mark.lean, pytest.mark.ray(last=True), pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


def test_messages_of_ray_are_logged_and_not_printed(local_ray, caplog, capfd):
    """An actor that ends with a call under way makes one, on standard output as Ray has it."""

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=2)
    class Waiting:
        def ready(self) -> bool:
            return True

        def wait(self) -> None:
            time.sleep(600)

    actor = Waiting.remote()
    assert ray.get(actor.ready.remote())
    with caplog.at_level(logging.INFO, logger="prover.solve.ray_start"):
        under_way = actor.wait.remote()
        deadline = time.monotonic() + 300
        while "Waiting.wait" not in caplog.text and time.monotonic() < deadline:
            ray.kill(actor, no_restart=False)
            time.sleep(0.5)
    assert "Waiting.wait" in caplog.text
    assert "Waiting" not in capfd.readouterr().out
    ray.kill(actor)
    del under_way


def nodes_of(port: int, name: str = "raylet") -> set[int]:
    """Processes of that cluster's nodes, told from other clusters on this machine by the head's port."""
    found = set()
    for p in psutil.process_iter():
        try:
            if p.name() == name and f":{port}" in " ".join(p.cmdline()):
                found.add(p.pid)
        except psutil.Error:
            continue
    return found


def kill_node(pid: int) -> None:
    raylet = psutil.Process(pid)
    for p in [*raylet.children(recursive=True), raylet]:
        with suppress(psutil.NoSuchProcess):  # some end as soon as others do
            p.kill()


def stop_cluster(port: int) -> None:
    for pid in nodes_of(port):
        kill_node(pid)
    # The head's other processes are gcs_server and the monitors, which would outlive it.
    for p in psutil.process_iter():
        with suppress(psutil.Error):
            if re.search(rf"\bray/.*[:=]{port}\b", " ".join(p.cmdline())):
                p.kill()


def ray_command(*args: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", *args], check=True, capture_output=True, env=env, timeout=300
    )


def test_nodes_join_and_leave_during_a_run(tmp_path):
    """Two nodes, each by `ray start`; the second joins while tasks run and is then killed with all that is on it."""
    ray.shutdown()
    # A local Ray makes a token and asks for it from then on, as does `ray start` beside it; who joins by an address must have been told.
    start_ray("local", num_cpus=1)
    ray.shutdown()
    with socket.socket() as s:
        s.bind(("", 0))
        port = s.getsockname()[1]
    ray_command(
        "start", "--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false", '--resources={"prover": 1}'
    )
    before = nodes_of(port)
    joined: set[int] = set()
    fleet = Fleet(config(address=f"127.0.0.1:{port}", elastic=True), tmp_path, print)
    try:
        fleet.start()
        assert len(fleet.members) == 1
        finished: list[Finished] = []
        killed = False
        deadline = time.monotonic() + 900
        tasks = [Task(t.theorem, t.policy, t.lean_calls) for t in TASKS]
        for f in fleet.run(tasks):
            finished.append(f)
            if len(finished) == 2:
                ray_command("start", f"--address=127.0.0.1:{port}", "--num-cpus=2", '--resources={"prover": 1}')
                joined = nodes_of(port) - before
                assert len(joined) == 1
                while len(fleet.members) < 2 and time.monotonic() < deadline:
                    fleet.scale(force=True)
                    time.sleep(0.5)
                assert len(fleet.members) == 2, "the second node's prover did not join"
                ray.get([m.ready for m in fleet.members.values()], timeout=600)
            if len(finished) == 10 and not killed:
                killed = True
                for pid in joined:
                    kill_node(pid)
        assert killed
        check(finished)
    finally:
        fleet.close()
        stop_cluster(port)


def test_a_copy_across_machines_gets_a_placement_group(tmp_path):
    """Where copies of the model go on two nodes with two GPUs each. Ray only counts these GPUs; vLLM is not started."""
    from ray.cluster_utils import Cluster
    from ray.util import placement_group_table

    from prover.models.backends.serve import ServeConfig

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 2, "include_dashboard": False})
    nodes = {cluster.head_node.node_id, cluster.add_node(num_cpus=2, num_gpus=2).node_id}
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        serve = ServeConfig(backend="vllm", tensor_parallel=2, pipeline_parallel=2)
        fleet = Fleet(replace(config(server_gpus=4.0), serve=serve), tmp_path, print)
        for chance in range(2):  # the second takes the first one's place, as after a death
            server = fleet.server(0)
            assert ray.get(server.counters.remote(), timeout=600)["version"] == 0
            table = placement_group_table(fleet.groups[0])
            assert table["state"] == "CREATED" and set(table["bundles_to_node_id"].values()) == nodes, chance
            assert list(table["bundles"].values()) == [{"GPU": 1.0}] * 4
            assert ray.available_resources().get("GPU", 0.0) == 0.0, "the copy does not hold its GPUs"
            ray.kill(server)
    finally:
        ray.shutdown()
        cluster.shutdown()
