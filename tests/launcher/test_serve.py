# SPDX-License-Identifier: Apache-2.0
"""`ray-mpi --serve`, `ray-mpi stop`, and programs that join: on one rank and on three."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from conftest import LIMIT_S
from test_mpirun import raylets_of

ACTOR = """
import os, signal, sys, time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

@ray.remote
class Counter:
    def __init__(self, start):
        self.count = start

    def add(self, amount):
        self.count += amount
        return self.count

    def where(self):
        return ray.get_runtime_context().get_node_id(), os.getpid()

def settle(ask):
    while True:
        try:
            return ray.get(ask())
        except ray.exceptions.ActorUnavailableError:
            time.sleep(0.02)
"""


def status_of(process):
    process.communicate(timeout=LIMIT_S)
    return process.returncode


def join(ray_mpi, text, env=None):
    """Runs a program that is none of the runtime's; what it prints."""
    path = ray_mpi.write("joins.py", ACTOR + text)
    ray_path = pathlib.Path(ray_mpi("--ray-path").stdout.strip())
    environment = {**ray_mpi.environment, **(env or {})}
    environment["PYTHONPATH"] = os.pathsep.join([str(ray_path), str(ray_path.parents[1])])
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_serves_without_a_program_until_it_is_stopped(ray_mpi, serve):
    process = serve("--serve", "--num-cpus", "2")
    join(
        ray_mpi,
        """
ray.init("auto", namespace="lab")
counter = Counter.options(name="till", lifetime="detached").remote(40)
assert ray.get(counter.add.remote(1)) == 41
""",
    )
    out = join(
        ray_mpi,
        """
ray.init(namespace="lab")
print(ray.get(ray.get_actor("till").add.remote(1)))
""",
        env={"RAY_ADDRESS": "auto"},
    )
    assert out == "42\n"
    stopped = ray_mpi("stop")
    assert (stopped.returncode, stopped.stdout[:6]) == (0, "ended "), stopped.stderr
    assert status_of(process) == 0
    again = ray_mpi("stop")
    assert again.returncode == 1 and "no runtime that serves" in again.stderr


def test_it_goes_on_after_its_program_and_has_its_status(ray_mpi, serve):
    path = ray_mpi.write("first.py", ACTOR + 'ray.init(namespace="lab")\nsys.exit(7)\n')
    process = serve("--serve", path, say="the program has ended with status 7")
    assert join(ray_mpi, 'ray.init("auto")\nprint(ray.get(Counter.remote(1).add.remote(1)))') == "2\n"
    process.send_signal(signal.SIGTERM)
    assert status_of(process) == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(serve, number):
    process = serve("--serve")
    process.send_signal(number)
    assert status_of(process) == 0


def test_sigterm_while_its_program_runs_ends_both(ray_mpi):
    path = ray_mpi.write("app.py", 'import ray, time\nray.init()\nprint("up", flush=True)\ntime.sleep(1000)\n')
    process = ray_mpi.start("--serve", path, stdin=subprocess.DEVNULL)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert status_of(process) == 128 + signal.SIGTERM


def test_stop_spares_what_does_not_serve(ray_mpi):
    path = ray_mpi.write("app.py", 'import ray\nray.init()\nprint("up", flush=True)\ninput()\n')
    process = ray_mpi.start(path, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    assert ray_mpi("stop").returncode == 1
    process.communicate("go\n", timeout=LIMIT_S)
    assert process.returncode == 0


def test_auto_without_a_runtime(ray_mpi):
    out = join(
        ray_mpi,
        """
try:
    ray.init("auto")
except ConnectionError as error:
    print("ray-mpi --serve" in str(error))
""",
    )
    assert out == "True\n"


def test_a_program_that_joined_learns_that_the_runtime_ended(ray_mpi, serve):
    process = serve("--serve")
    out = join(
        ray_mpi,
        f"""
ray.init("auto")
counter = Counter.remote(0)
ray.get(counter.add.remote(1))
os.kill({process.pid}, signal.SIGTERM)
try:
    while True:
        ray.get(counter.add.remote(1))
except ray.exceptions.RayError as error:
    print("told")
""",
    )
    assert out == "told\n" and status_of(process) == 0


@pytest.mark.usefixtures("mpirun")
def test_three_ranks(ray_mpi, serve):
    """A detached actor on another rank survives its driver and its node; other drivers, on any rank, find it."""
    process = serve("-n", "3", "--num-cpus", "2", "--serve")
    sessions = {}
    for path in ray_mpi.run_dirs.glob("ray-mpi-*/session.json"):
        session = json.loads(path.read_text())
        sessions[session["rank"]] = session["keeper_pid"], str(path.parent)
    assert sorted(sessions) == [0, 1, 2]
    rank = int(
        join(
            ray_mpi,
            """
ray.init("auto", namespace="lab")
elsewhere = [n for n in ray.nodes() if n["Rank"] != 0]
options = dict(lifetime="detached", max_restarts=-1, scheduling_strategy=On(elsewhere[0]["NodeID"], soft=True))
counter = Counter.options(name="till", **options).remote(ray.put(40))
assert ray.get(counter.add.remote(1)) == 41
where = ray.get(counter.where.remote())[0]
print(next(n["Rank"] for n in ray.nodes() if n["NodeID"] == where))
Counter.options(name="mine").remote(0)
""",
        )
    )
    assert rank != 0
    other = 3 - rank
    out = join(
        ray_mpi,
        """
ray.init(namespace="lab")
counter = ray.get_actor("till")
print(ray.get(counter.add.remote(1)), ray.util.list_named_actors())
""",
        env={"RAY_ADDRESS": sessions[other][1]},
    )
    assert out == "42 ['till']\n"
    os.kill(raylets_of(ray_mpi)[sessions[rank][0]], signal.SIGKILL)
    out = join(
        ray_mpi,
        """
ray.init(namespace="lab")
while len([n for n in ray.nodes() if n["Alive"]]) == 3:
    time.sleep(0.05)
counter = ray.get_actor("till")
print(settle(lambda: counter.add.remote(2)))
where, pid = settle(lambda: counter.where.remote())
assert where in [n["NodeID"] for n in ray.nodes() if n["Alive"]]
ray.kill(counter)
while "till" in ray.util.list_named_actors():
    time.sleep(0.05)
""",
        env={"RAY_ADDRESS": sessions[other][1]},
    )
    assert out == "42\n"
    assert ray_mpi("stop").returncode == 0
    assert status_of(process) == 0
