# SPDX-License-Identifier: Apache-2.0
"""More data than the nodes' memory holds, on three ranks: read across nodes, killed in mid-spill, nothing left."""

import os
import signal

import pytest
from conftest import wait_until

pytestmark = pytest.mark.usefixtures("mpirun")

START = """
import glob, os, signal, subprocess, sys, time
import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init()
nodes = [n["NodeID"] for n in ray.nodes()]
folder = sys.argv[1]

def on(node):
    return NodeAffinitySchedulingStrategy(node, soft=True)

def pattern(n):
    return np.random.default_rng(n).integers(0, 256, 4 << 20, dtype=np.uint8)

@ray.remote(num_cpus=0)
def make(n):
    return pattern(n)

@ray.remote(num_cpus=0)
def check(array, n):
    return bool((array == pattern(n)).all())
"""


def run(ray_mpi, folder, text, **kwargs):
    options = ["-n", "3", "--num-cpus", "2", "--object-store-memory", "32M", "--object-spilling-directory", folder]
    done = ray_mpi(*options, ray_mpi.write("app.py", START + text), folder, **kwargs)
    assert done.returncode == 0, done.stderr
    assert os.listdir(folder) == []
    return done.stdout.split()


def test_each_node_spills_and_others_read(ray_mpi, tmp_path):
    """480 MiB in 96: made on one node, checked on another, then read by the program."""
    assert run(ray_mpi, tmp_path / "spill", """
refs = [make.options(scheduling_strategy=on(nodes[n % 3])).remote(n) for n in range(120)]
ray.wait(refs, num_returns=len(refs), fetch_local=False)
print(len(glob.glob(folder + "/*/*.h5")) >= 3)
print(all(ray.get([check.options(scheduling_strategy=on(nodes[(n + 1) % 3])).remote(r, n) for n, r in enumerate(refs)])))
print(all((ray.get(r) == pattern(n)).all() for n, r in enumerate(refs)))
""") == ["True", "True", "True"]


def test_a_raylet_killed_while_it_spills(ray_mpi, tmp_path):
    assert run(ray_mpi, tmp_path / "spill", """
@ray.remote(num_cpus=0, max_retries=0)
def end_node():
    subprocess.run(["pkill", "-KILL", "-P", str(os.getppid()), "-x", "ray-mpi-raylet"])  # the keeper's child
    time.sleep(60)

driver = ray.get_runtime_context().get_node_id()
victim = next(node for node in nodes if node != driver)
number = {n["NodeID"]: n for n in ray.nodes()}[victim]
refs = [make.options(scheduling_strategy=on(victim)).remote(n) for n in range(40)]
while len(glob.glob(folder + "/*/*.h5")) == 0:
    time.sleep(0.001)
ray.wait([end_node.options(scheduling_strategy=on(victim)).remote()], timeout=30)
print(all((ray.get(r, timeout=60) == pattern(n)).all() for n, r in enumerate(refs)))
print(sum(n["Alive"] for n in ray.nodes()))
""") == ["True", "2"]


def test_files_go_when_the_keeper_is_killed(ray_mpi, tmp_path):
    folder = tmp_path / "spill"
    text = START + """
refs = [ray.put(pattern(n)) for n in range(20)]
print(os.environ["RAY_MPI_KEEPER_PID"] if "RAY_MPI_KEEPER_PID" in os.environ else os.getppid(), flush=True)
time.sleep(60)
"""
    program = ray_mpi.start("--object-store-memory", "32M", "--object-spilling-directory", folder,
                            ray_mpi.write("app.py", text), folder)  # fmt: skip
    keeper = int(program.stdout.readline())
    assert os.listdir(folder)
    os.kill(keeper, signal.SIGKILL)
    assert wait_until(lambda: os.listdir(folder) == [])
    program.kill()
    program.wait()


def test_kept_files_can_be_listed(ray_mpi, tmp_path):
    folder = tmp_path / "spill"
    app = ray_mpi.write("app.py", START + "refs = [ray.put(pattern(n)) for n in range(20)]")
    options = ["--object-store-memory", "32M", "--keep-spill"]
    assert "--keep-spill: say where" in ray_mpi(*options, app).stderr
    done = ray_mpi(*options, "--object-spilling-directory", folder, app, folder)
    assert done.returncode == 0, done.stderr
    names = [str(path) for path in folder.glob("*/*.h5")]
    assert len(names) > 0
    listed = ray_mpi("spill", "ls", *names)
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) >= 8
