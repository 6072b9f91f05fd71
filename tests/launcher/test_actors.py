# SPDX-License-Identifier: Apache-2.0
"""Actors on three ranks: where they are, calls between nodes, and what a node's death does to them."""

import os
import signal
import subprocess
import time

import pytest

from test_mpirun import THREE, raylets_of

pytestmark = pytest.mark.usefixtures("mpirun")

ACTORS = (
    THREE
    + """
import signal, sys, time
from ray.exceptions import ActorDiedError, RayActorError

@ray.remote
class Here:
    def __init__(self):
        self.calls = 0

    def where(self):
        self.calls += 1
        return ray.get_runtime_context().get_node_id(), os.getpid(), self.calls

    def ask(self, other):
        return ray.get(other.where.remote())[0]

    def nap(self, seconds):
        time.sleep(seconds)
        return ray.get_runtime_context().get_node_id()
"""
)


def test_spread_and_calls_between_nodes(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        ACTORS
        + """
actors = [Here.remote() for _ in range(9)]
homes = [home for home, _, _ in ray.get([a.where.remote() for a in actors])]
print(len(set(homes)) > 1)
asked = ray.get([a.ask.remote(b) for a, b in zip(actors, actors[1:])])
print(asked == homes[1:])
stubborn = Here.options(max_restarts=1, max_task_retries=-1).remote()
home, pid, _ = ray.get(stubborn.where.remote())
@ray.remote
def kill(pid):
    os.kill(pid, signal.SIGKILL)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.get(kill.options(scheduling_strategy=On(home, soft=False)).remote(pid))
while True:
    _, again, calls = ray.get(stubborn.where.remote())
    if again != pid:
        break
print(calls)
""",
    )
    done = ray_mpi("-n", "3", "--num-cpus", "2", path)
    assert (done.stdout, done.returncode) == ("True\nTrue\n1\n", 0), done.stderr


def test_a_node_dies_under_its_actors(ray_mpi):
    """Those that may restart do so elsewhere, and their calls are repeated; the others are dead, with a reason."""
    path = ray_mpi.write(
        "app.py",
        ACTORS
        + """
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
on = [On(n["NodeID"], soft=True) for n in ray.nodes()]
fragile = [Here.options(scheduling_strategy=node).remote() for node in on]
stubborn = [Here.options(scheduling_strategy=node, max_restarts=-1, max_task_retries=-1).remote() for node in on]
homes = ray.get([a.nap.remote(0) for a in fragile])
before = ray.get([a.nap.remote(0) for a in stubborn])
running = [a.nap.remote(3) for a in stubborn]
time.sleep(0.5)
print(os.environ["RAY_MPI_KEEPER_PID"], flush=True)
sys.stdin.readline()
after = ray.get(running)
dead = [n["NodeID"] for n in ray.nodes() if not n["Alive"]]
print(len(dead), any(home in dead for home in before), any(home in dead for home in after))
for actor, home in zip(fragile, homes):
    try:
        ray.get(actor.where.remote())
        assert home not in dead
    except ActorDiedError as error:
        assert home in dead and "class_name: Here" in str(error), error
print("as it should be")
""",
    )
    process = ray_mpi.start("-n", "3", path, stdin=subprocess.PIPE)
    head = int(process.stdout.readline())
    victim = next(raylet for keeper, raylet in raylets_of(ray_mpi).items() if keeper != head)
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate("go\n", timeout=90)
    assert (out, process.returncode) == ("1 True False\nas it should be\n", 0), err


def test_a_raylet_that_is_stopped_alone_is_ended_with_its_workers(ray_mpi):
    """Its actor starts elsewhere when no worker of that node is left, and before the head itself would give it up."""
    path = ray_mpi.write(
        "app.py",
        ACTORS
        + """
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

@ray.remote(max_restarts=-1, max_task_retries=-1)
class Alone:
    def __init__(self, file):
        with open(file, "a+") as pids:
            pids.seek(0)
            self.others = [pid for pid in pids.read().split() if os.path.exists(f"/proc/{pid}")]
            print(os.getpid(), file=pids)

    def found(self):
        return os.getppid(), ray.get_runtime_context().get_node_id(), self.others

away = [n["NodeID"] for n in ray.nodes() if n["NodeID"] != ray.get_runtime_context().get_node_id()]
actor = Alone.options(scheduling_strategy=On(away[0], soft=True)).remote(sys.argv[1])
keeper, home, _ = ray.get(actor.found.remote())
print(keeper, flush=True)
sys.stdin.readline()
_, after, others = ray.get(actor.found.remote())
while sum(n["Alive"] for n in ray.nodes()) == 3:
    time.sleep(0.01)
print(after == home, others)
""",
    )
    process = ray_mpi.start("-n", "3", path, str(ray_mpi.folder / "pids"), stdin=subprocess.PIPE)
    keeper = int(process.stdout.readline())
    raylet = raylets_of(ray_mpi)[keeper]
    os.kill(raylet, signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(0.2)
    process.stdin.write("go\n")
    process.stdin.flush()
    out = process.stdout.readline()
    took = time.monotonic() - stopped
    _, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("False []\n", 0), err
    assert 2 < took < 4, took
    assert f"the raylet (pid {raylet}) has given no sign of life for 3 s" in err


def test_a_suspended_job_goes_on_without_a_death(ray_mpi):
    """SIGSTOP to all processes for longer than the head's patience, SIGCONT: nobody was silent."""
    path = ray_mpi.write(
        "app.py",
        ACTORS
        + """
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
actors = [Here.options(scheduling_strategy=On(n["NodeID"], soft=False)).remote() for n in ray.nodes()]
before = ray.get([a.where.remote() for a in actors])
print("up", flush=True)
sys.stdin.readline()
after = ray.get([a.where.remote() for a in actors])
time.sleep(5)  # a death would come late
print([b[:2] for b in before] == [a[:2] for a in after], [a[2] for a in after],
      all(n["Alive"] for n in ray.nodes()))
""",
    )
    process = ray_mpi.start("-n", "3", path, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    all_of_it = ray_mpi.processes()
    try:
        for pid in all_of_it:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(float(os.environ.get("RAY_MPI_SUSPEND_S", 6)))
    finally:
        for pid in all_of_it:
            os.kill(pid, signal.SIGCONT)
    out, err = process.communicate("go\n", timeout=60)
    assert (out, process.returncode) == ("True [2, 2, 2] True\n", 0), err
