# SPDX-License-Identifier: Apache-2.0
"""Heartbeats through other raylets: whoever passes them on may die or stop, and nobody else is taken for dead."""

import json
import os
import signal
import subprocess

import pytest

from conftest import LIMIT_S
from test_mpirun import raylets_of

APP = """
import sys, time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init()

@ray.remote(max_retries=0)
def where():
    return ray.get_runtime_context().get_node_id()

def alive():
    return [n["NodeID"] for n in ray.nodes() if n["Alive"]]

def all_work(ids):
    return ray.get([where.options(scheduling_strategy=On(i, soft=False)).remote() for i in ids]) == ids

ids = alive()
time.sleep(3)  # longer than a fence waits for its answers
print(len(ids), all_work(ids), flush=True)
sys.stdin.readline()
while len(alive()) != 3:
    time.sleep(0.05)
time.sleep(5)  # longer than the head waits for anybody
print([ids.index(i) + 1 for i in alive()], all_work(alive()), flush=True)
"""


@pytest.mark.usefixtures("mpirun")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_the_end_of_who_passes_heartbeats_on(ray_mpi, end):
    app = ray_mpi.start(
        "-n", "4", "--num-cpus", "1", "--heartbeat-tree", "1", ray_mpi.write("app.py", APP), stdin=subprocess.PIPE
    )
    assert app.stdout.readline() == "4 True\n", app.communicate("\n", timeout=LIMIT_S)
    nodes = json.loads(ray_mpi("status", "--json").stdout)["nodes"]
    aggregates = next(n["rank"] for n in nodes if n["node"] == 2)  # of the four, the first that came after the head
    sessions = [json.loads(path.read_text()) for path in ray_mpi.run_dirs.glob("*/session.json")]
    keeper = next(s["keeper_pid"] for s in sessions if s["rank"] == aggregates)
    os.kill(raylets_of(ray_mpi)[keeper], end)
    out, err = app.communicate("\n", timeout=LIMIT_S)
    assert (out, app.returncode) == ("[1, 3, 4] True\n", 0), err
