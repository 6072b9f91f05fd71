# SPDX-License-Identifier: Apache-2.0
"""`ray-mpi drain`: a node is emptied from outside; one that joined leaves, a rank of the launch stays."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import LIMIT_S
from test_serve import status_of

PREAMBLE = """
import os, sys, time
import numpy as np
import ray
from ray.util import placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as In

def alive(count=None):
    while count is not None and len(alive()) != count:
        time.sleep(0.02)
    return [n for n in ray.nodes() if n["Alive"]]

@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()

@ray.remote
def make(value, mb):
    return np.full(mb << 17, value, dtype=np.float64)

@ray.remote(max_restarts=1, max_task_retries=1, num_cpus=1)
class Actor:
    def where(self):
        return ray.get_runtime_context().get_node_id()
"""

# Says what there is, waits for a line after which one node is to be empty, and looks again.
ON_RANKS = (
    PREAMBLE
    + """
ray.init()
ids = [n["NodeID"] for n in alive(3)]
on = On(ids[1], soft=True)
made = make.options(scheduling_strategy=on).remote(7.0, 2)
actor = Actor.options(scheduling_strategy=on).remote()
group = placement_group([{"CPU": 1}] * 3, strategy="SPREAD")
assert group.wait(30)
assert ray.get(actor.where.remote()) == ids[1]
ray.wait([made], fetch_local=False)
print(ids[1], flush=True)
sys.stdin.readline()
assert ray.get(actor.where.remote()) != ids[1]
places = ray.get([where.options(scheduling_strategy="SPREAD").remote() for _ in range(30)])
in_group = [where.options(num_cpus=1, scheduling_strategy=In(group, i)).remote() for i in range(3)]
print(ids[1] in places, ids[1] in ray.get(in_group), ray.get(made)[-1], len(alive()), flush=True)
print(ray.cluster_resources()["CPU"], flush=True)
try:
    ray.get(where.options(scheduling_strategy=On(ids[1], soft=False)).remote())
except ray.exceptions.TaskUnschedulableError as e:
    print("is being drained" in str(e) or str(e), flush=True)
sys.stdin.readline()
"""
)


@pytest.fixture
def add(serve):
    return lambda *args: serve("--join", *args, say="until SIGTERM or its end")


def session_of(ray_mpi, **wanted):
    """The run directory of the node that is what its session.json says."""
    for path in ray_mpi.run_dirs.glob("*/session.json"):
        session = json.loads(path.read_text())
        if all(session[key] == value for key, value in wanted.items()):
            return path.parent
    raise AssertionError(wanted)


def start_driver(ray_mpi, text, **environment):
    """A program that the runtime did not start."""
    ray_path = pathlib.Path(ray_mpi("--ray-path").stdout.strip())
    path = os.pathsep.join([str(ray_path), str(ray_path.parents[1])])
    return subprocess.Popen(
        [sys.executable, ray_mpi.write("guest.py", PREAMBLE + text)],
        env={**ray_mpi.environment, "PYTHONPATH": path, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ray_mpi.folder,
    )


def nodes_of(ray_mpi):
    done = ray_mpi("status", "--json")
    return json.loads(done.stdout)["nodes"] if done.returncode == 0 else []


def say(app, line=""):
    app.stdin.write(line + "\n")
    app.stdin.flush()


@pytest.mark.usefixtures("mpirun")
def test_a_rank_is_drained_and_stays(ray_mpi):
    app = ray_mpi.start("-n", "3", "--num-cpus", "3", ray_mpi.write("app.py", ON_RANKS), stdin=subprocess.PIPE)
    drained = app.stdout.readline().strip()
    done = ray_mpi("drain", drained[:12])
    assert done.returncode == 0, done.stderr
    assert "is drained: 1 object (2.0 MiB) moved" in done.stdout, done.stdout
    rank = re.search(r"\(rank ([12]) on ", done.stdout)[1]  # ranks join in any order
    states = {str(n["rank"]): n["state"] for n in nodes_of(ray_mpi)}
    assert states.pop(rank) == "drained" and set(states.values()) == {"alive"}
    say(app)
    assert app.stdout.readline() == "False False 7.0 3\n", app.communicate("\n", timeout=LIMIT_S)
    assert app.stdout.readline() == "6.0\n"
    assert app.stdout.readline() == "True\n"
    again = ray_mpi("drain", rank)
    assert again.returncode == 0 and f"(rank {rank} on " in again.stdout, again
    for words, text in [
        (["0"], "the head's node cannot leave"),
        (["7"], "no node that is up has the rank, the host name or the beginning of an id '7'. There are: rank 0 on "),
        ([nodes_of(ray_mpi)[0]["host"]], "may be any of 3 nodes"),
    ]:
        refused = ray_mpi("drain", *words)
        assert refused.returncode == 1 and text in refused.stderr, refused
    out, err = app.communicate("\n", timeout=LIMIT_S)
    assert app.returncode == 0, err


@pytest.mark.usefixtures("mpirun")
def test_programs_on_a_drained_rank_go_on(ray_mpi):
    """One that came in there is neither waited for nor ended; what it starts runs elsewhere."""
    program = ray_mpi.write("app.py", PREAMBLE + "ray.init()\nprint(flush=True)\nsys.stdin.readline()")
    app = ray_mpi.start("-n", "2", "--num-cpus", "1", program, stdin=subprocess.PIPE)
    app.stdout.readline()
    rank1 = session_of(ray_mpi, rank=1)
    guest = start_driver(
        ray_mpi,
        """
ray.init(os.environ["RUN"])
mine = ray.get_runtime_context().get_node_id()
kept = ray.put(np.full(1 << 17, 3.0))
print(mine, flush=True)
sys.stdin.readline()

@ray.remote
def use(a):
    return a.sum() / a.size, ray.get_runtime_context().get_node_id() != mine

print(*ray.get(use.remote(kept)), flush=True)
""",
        RUN=str(rank1),
    )
    assert len(guest.stdout.readline()) > 40
    done = ray_mpi("drain", "1", "--timeout", "30", "--session", str(rank1))
    assert done.returncode == 0, done
    out, _ = guest.communicate("\n", timeout=LIMIT_S)
    assert (out, guest.returncode) == ("3.0 True\n", 0)
    app.communicate("\n", timeout=LIMIT_S)
    assert app.returncode == 0


def test_a_node_that_joined_is_drained_and_leaves(ray_mpi, serve, add):
    """Asked for through that node itself; what it runs past its time is done elsewhere."""
    serve("--serve", "--num-cpus", "1")
    node = add("auto", "--num-cpus", "2")
    driver = start_driver(
        ray_mpi,
        """
ray.init("auto")

@ray.remote(num_cpus=1, max_retries=1)
def long_one():
    if os.path.exists("began"):
        return ray.get_runtime_context().get_node_id()
    open("began", "w").close()
    time.sleep(1000)

there = alive(2)[1]["NodeID"]
task = long_one.options(scheduling_strategy=On(there, soft=True)).remote()
while not os.path.exists("began"):
    time.sleep(0.02)
print(there, flush=True)
print(ray.get(task) == alive(1)[0]["NodeID"], flush=True)
""",
    )
    node_id = driver.stdout.readline().strip()
    run = session_of(ray_mpi, joined=True)
    done = ray_mpi("drain", node_id[:10], "--timeout", "0.5", "--session", str(run))
    assert done.returncode == 0, done
    assert "joined later" in done.stdout and "is drained and leaves" in done.stdout, done.stdout
    assert "1 process was ended in the middle of something" in done.stdout
    assert "and 0 objects (0 B) are left" in done.stderr, "how far it was"
    assert status_of(node) == 0
    assert driver.communicate(timeout=LIMIT_S)[0] == "True\n"
    assert ray_mpi("drain", node_id[:10]).returncode == 1


def test_what_no_other_node_has_room_for_is_said(ray_mpi, serve, add):
    serve("--serve", "--num-cpus", "1", "--object-store-memory", "32M")
    node = add("auto", "--num-cpus", "2", "--object-store-memory", "256M")
    driver = start_driver(
        ray_mpi,
        """
ray.init("auto")
big = make.options(num_cpus=2, scheduling_strategy=On(alive(2)[1]["NodeID"], soft=True)).remote(1.0, 64)
ray.wait([big], fetch_local=False)
print(flush=True)
alive(1)
""",
    )
    assert driver.stdout.readline()
    node_id = next(n["node_id"] for n in nodes_of(ray_mpi) if n["rank"] is None)
    done = ray_mpi("drain", node_id)
    assert done.returncode == 1, done
    assert "no node had room for 1 object (64.0 MiB), which are lost unless a task can make them again" in done.stdout
    assert status_of(node) == 0
    _, err = driver.communicate(timeout=LIMIT_S)
    assert "stay behind, since no node has room" in err


def test_mistakes_are_named(ray_mpi):
    for words, status, text in [
        ([], 2, "which node?"),
        ([""], 2, "which node?"),
        (["1", "2"], 2, "too many positional"),
        (["1", "--timeout", "-1"], 2, "no number of seconds"),
        (["1", "--timeout", "soon"], 2, "--timeout"),
        (["1", "--fast"], 2, "--fast"),
        (["1"], 1, "no run of yours is up"),
        (["1", "--session", "/nowhere"], 1, "no ray-mpi runtime at /nowhere"),
    ]:
        done = ray_mpi("drain", *words)
        assert done.returncode == status and text in done.stderr, (words, done)
