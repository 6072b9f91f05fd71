# SPDX-License-Identifier: Apache-2.0
"""Objects that a dead node has spilled to a folder that all nodes see come back, also those that nothing can make again."""

import os
import subprocess

import pytest
from conftest import wait_until

pytestmark = pytest.mark.usefixtures("mpirun")

# Results of an actor's methods and of tasks without retries: what is lost of them stays lost. All that is made is
# written to disk at once.
START = """
import glob, json, os, signal, struct, subprocess, sys, time
import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init()
folder, ray_mpi = sys.argv[1:3]
me = ray.get_runtime_context().get_node_id()
victim, third = [n["NodeID"] for n in ray.nodes() if n["NodeID"] != me]

def on(node):
    return NodeAffinitySchedulingStrategy(node, soft=True)

def pattern(n):
    return np.random.default_rng(n).integers(0, 256, 4 << 20, dtype=np.uint8)

@ray.remote(num_cpus=0, max_retries=0)
def make(n):
    return pattern(n)

@ray.remote(num_cpus=0)
class Maker:
    def make(self, n):
        return pattern(n)

@ray.remote(num_cpus=0)
def check(array, n):
    return bool((array == pattern(n)).all())

@ray.remote(num_cpus=0, max_retries=0)
def end_node(who):
    keeper = os.getppid()
    if who == "keeper":
        os.kill(keeper, signal.SIGKILL)
    else:
        subprocess.run(["pkill", "-KILL", "-P", str(keeper), "-x", "ray-mpi-raylet"])
    time.sleep(60)

def end_victim(who="raylet"):
    ray.wait([end_node.options(scheduling_strategy=on(victim)).remote(who)], timeout=30)

def records():
    found = {}
    for line in subprocess.run([ray_mpi, "spill", "ls", *glob.glob(folder + "/*/*.h5")], capture_output=True, text=True).stdout.splitlines():
        path, name, attempt, offset, size, checksum = line.split("\\t")
        found[name] = (path, int(offset), int(size))
    return found

def make_there(count, **options):
    actor = Maker.options(scheduling_strategy=on(victim)).remote()
    there = make.options(scheduling_strategy=on(victim), **options)
    refs = [there.remote(n) if n % 2 else actor.make.remote(n) for n in range(count)]
    ray.wait(refs, num_returns=count, fetch_local=False)
    return refs

def on_disk(refs):
    deadline = time.monotonic() + 30
    while not {r.hex() for r in refs} <= records().keys():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return refs

def all_right(refs, **kwargs):
    return all((ray.get(r, timeout=60, **kwargs) == pattern(n)).all() for n, r in enumerate(refs))

def error(ref):
    try:
        ray.get(ref, timeout=60)
    except ray.exceptions.ObjectLostError as e:
        return type(e).__name__, str(e)
    return "none", ""

def damage(ref, at, bytes):
    path, offset, size = records()[ref.hex()]
    with open(path, "r+b") as file:
        file.seek(32)
        file.seek(struct.unpack("<Q", file.read(8))[0] + offset + at)
        file.write(bytes)
"""
OPTIONS = ["--num-cpus", "2", "--object-store-memory", "32M"]
AT_ONCE = ["--system-config", '{"object_spilling_threshold": 0}']


def run(ray_mpi, folder, text, *options):
    folder.mkdir(exist_ok=True)
    app = ray_mpi.write("app.py", START + text)
    done = ray_mpi("-n", "3", *OPTIONS, *AT_ONCE, "--object-spilling-directory", folder, *options, app, folder, ray_mpi.executable)
    assert done.returncode == 0, done.stderr
    assert os.listdir(folder) == []
    return done.stdout.split()


@pytest.mark.parametrize("who", ["raylet", "keeper"])
def test_what_a_dead_node_spilled_comes_back(ray_mpi, tmp_path, who):
    """160 MiB in 40, of a node with 32 MiB: read by the program, whose store is as small, and by tasks of the third."""
    assert run(ray_mpi, tmp_path / "spill", f"""
refs = on_disk(make_there(40))
before = glob.glob(folder + "/*/*.h5")
end_victim("{who}")
print(all_right(refs), all_right(refs[:5]))
print(all(ray.get([check.options(scheduling_strategy=on(third)).remote(r, n) for n, r in enumerate(refs)], timeout=60)))
print(sum(n["Alive"] for n in ray.nodes()), set(before) <= set(glob.glob(folder + "/*/*.h5")))
""") == ["True", "True", "True", "2", "True"]


def test_who_waits_when_the_node_dies_gets_it_too(ray_mpi, tmp_path):
    """Borrowers in tasks, and calls whose argument it is, asked for before the death and after it."""
    assert run(ray_mpi, tmp_path / "spill", """
refs = on_disk(make_there(12))

@ray.remote(num_cpus=0, max_retries=0)
def reads(refs, go):
    while not os.path.exists(go): time.sleep(0.01)
    return all((ray.get(r) == pattern(n)).all() for n, r in enumerate(refs))

go = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "go")
readers = [reads.options(scheduling_strategy=on(node)).remote(refs, go) for node in (me, third)]
end_victim()
open(go, "w").close()
checks = [check.remote(r, n) for n, r in enumerate(refs)]
print(all(ray.get(readers, timeout=60)), all(ray.get(checks, timeout=60)))
""") == ["True", "True"]


def test_damage_is_found_and_lineage_helps_if_there_is_some(ray_mpi, tmp_path):
    """A flipped byte, and bytes that never came to the disk. The tasks may run again, the methods not."""
    assert run(ray_mpi, tmp_path / "spill", """
refs = on_disk(make_there(12, max_retries=2))
end_victim()
damage(refs[2], 1000, bytes([pattern(2)[1000] ^ 1]))
damage(refs[3], 1000, bytes([pattern(3)[1000] ^ 1]))
damage(refs[4], 2 << 20, bytes(2 << 20))
damage(refs[5], 2 << 20, bytes(2 << 20))
for n, ref in enumerate(refs):
    if n in (2, 4):
        kind, text = error(ref)
        print(kind, "is dead" in text, "max_task_retries" in text)
    else:
        assert (ray.get(ref, timeout=60) == pattern(n)).all(), n
""") == ["ObjectReconstructionFailedError", "True", "True"] * 2


def test_freed_objects_of_the_dead_leave_nothing(ray_mpi, tmp_path):
    """And what is freed while it is on its way back."""
    assert run(ray_mpi, tmp_path / "spill", """
refs = on_disk(make_there(20))
end_victim()
print(all_right(refs[:10]))
ray.wait(refs[10:], num_returns=1)
del refs
def used():
    text = subprocess.run([ray_mpi, "status", "--json"], capture_output=True, text=True).stdout
    return sum(n["object_store"]["objects"] for n in json.loads(text)["nodes"] if "object_store" in n)
deadline = time.monotonic() + 20
while used() > 0 and time.monotonic() < deadline: time.sleep(0.05)
print(used())
""") == ["True", "0"]


def test_a_folder_of_the_nodes_own_goes_with_it(ray_mpi, tmp_path):
    """As it is without shared folders: tasks run again, and for what nothing makes again there is an error at once."""
    for folder in ("own", "others"):
        (tmp_path / folder).mkdir()
    app = ray_mpi.write("app.py", START + """
refs = on_disk(make_there(12, max_retries=2))
end_victim()
print(len(records()))
print(all((ray.get(refs[n], timeout=60) == pattern(n)).all() for n in range(1, 12, 2)))
kind, text = error(refs[0])
print(kind, "is dead" in text, "max_task_retries" in text)
""")

    config = ray_mpi.write("ranks.ini", f"""
object-spilling-directory = {tmp_path / "own"}
[rank 0]
object-spilling-directory = {tmp_path / "others"}
""")
    done = ray_mpi("-n", "3", *OPTIONS, *AT_ONCE, "--config", config, app, tmp_path / "own", ray_mpi.executable)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["True", "ObjectReconstructionFailedError", "True", "True"]
    assert os.listdir(tmp_path / "own") == os.listdir(tmp_path / "others") == []


def test_runs_side_by_side_leave_each_other_alone(ray_mpi, tmp_path):
    folder = tmp_path / "spill"
    folder.mkdir()
    text = "refs = [ray.put(pattern(n)) for n in range(20)]\nprint('there', flush=True)\nsys.stdin.readline()\nprint(all_right(refs))"
    lines = START.replace("victim, third = ", "others = ") + text
    other = ray_mpi.start(*OPTIONS, *AT_ONCE, "--object-spilling-directory", folder, ray_mpi.write("other.py", lines), folder,
                          ray_mpi.executable, stdin=subprocess.PIPE)  # fmt: skip
    assert other.stdout.readline() == "there\n"
    before = os.listdir(folder)
    app = ray_mpi.write("app.py", START + "refs = on_disk(make_there(8))\nend_victim()\nprint(all_right(refs))")
    done = ray_mpi("-n", "3", *OPTIONS, *AT_ONCE, "--object-spilling-directory", folder, app, folder, ray_mpi.executable)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"]
    assert os.listdir(folder) == before
    out, err = other.communicate("\n", timeout=60)
    assert out == "True\n", err
    assert os.listdir(folder) == []


def test_files_of_the_dead_go_when_the_heads_keeper_is_killed(ray_mpi, tmp_path):
    folder = tmp_path / "spill"
    folder.mkdir()
    text = START + "refs = on_disk(make_there(8))\nend_victim()\nprint(os.environ['RAY_MPI_KEEPER_PID'], flush=True)\ntime.sleep(60)"
    app = ray_mpi.write("app.py", text)
    program = ray_mpi.start("-n", "3", *OPTIONS, *AT_ONCE, "--object-spilling-directory", folder, app, folder, ray_mpi.executable)
    keeper = int(program.stdout.readline())
    assert len(os.listdir(folder)) == 2  # the head's, and the dead node's
    os.kill(keeper, 9)
    assert wait_until(lambda: os.listdir(folder) == [])
    program.communicate(timeout=60)
