# SPDX-License-Identifier: Apache-2.0
"""What a node held that dies is made again, on three ranks; what is not says why."""

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

# `other`: the node that `lose()` kills, by the raylet of its rank.
START = """
import os, pathlib, signal, sys, time
import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init()
me = ray.get_runtime_context().get_node_id()
other = next(n["NodeID"] for n in ray.nodes() if n["NodeID"] != me)
there = NodeAffinitySchedulingStrategy(other, soft=True)
just_there = NodeAffinitySchedulingStrategy(other, soft=False)
just_here = NodeAffinitySchedulingStrategy(me, soft=False)

@ray.remote(max_retries=0)
def end_node():
    keeper = os.getppid()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        head, _, tail = stat.read_text().rpartition(")")
        if "(ray-mpi-raylet" in head and int(tail.split()[1]) == keeper:
            os.kill(int(stat.parent.name), signal.SIGKILL)
    time.sleep(60)

def lose():
    ray.wait([end_node.options(scheduling_strategy=just_there).remote()], timeout=30)

@ray.remote
def numbers(n):
    return np.full(1 << 18, n)

@ray.remote
def add(a, b):
    return a + b

def reason(ref):
    try:
        ray.get(ref, timeout=30)
    except ray.exceptions.ObjectLostError as e:
        assert "rank" in str(e) and "is dead" in str(e), e
        return getattr(e, "reason", None) if isinstance(e, ray.exceptions.ObjectReconstructionFailedError) else type(e).__name__
    return "none"
"""


def run(ray_mpi, text, **kwargs):
    done = ray_mpi("-n", "3", "--num-cpus", "2", ray_mpi.write("app.py", START + text), **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_chain_comes_back(ray_mpi):
    """Its intermediate values have been freed long ago."""
    assert run(ray_mpi, """
x = numbers.options(scheduling_strategy=there).remote(1)
for i in range(4):
    x = add.options(scheduling_strategy=there).remote(x, i)
ray.wait([x], fetch_local=False)
lose()
print(ray.get(x)[0], len({n["NodeID"] for n in ray.nodes() if n["Alive"]}))
""") == ["7", "2"]


def test_who_waits_goes_on_waiting(ray_mpi):
    """Borrowers in tasks, and a wait that began before."""
    assert run(ray_mpi, """
x = numbers.options(scheduling_strategy=there).remote(5)
ray.wait([x], fetch_local=False)

@ray.remote(max_retries=0)
def reads(refs, go):
    while not os.path.exists(go): time.sleep(0.01)
    return int(ray.get(refs[0])[0]) + len(ray.wait(refs)[0])

go = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "go")
readers = [reads.options(scheduling_strategy=just_here, num_cpus=0).remote([x], go) for _ in range(2)]
lose()
open(go, "w").close()
print(ray.get(readers), ray.get(add.remote(x, 1))[0])
""") == ["[6,", "6]", "6"]


def test_across_owners(ray_mpi):
    """The argument belongs to an actor, which makes it again; then its owner is dead, too."""
    assert run(ray_mpi, """
@ray.remote
class Owner:
    def make(self, n):
        ref = numbers.options(scheduling_strategy=there).remote(n)
        ray.wait([ref], fetch_local=False)
        return [ref]

near = Owner.options(scheduling_strategy=just_here).remote()
far = Owner.options(scheduling_strategy=just_there).remote()
a, b = ray.get(near.make.remote(1))[0], ray.get(far.make.remote(2))[0]
x, y = (add.options(scheduling_strategy=there).remote(ref, 10) for ref in (a, b))
ray.wait([x, y], num_returns=2, fetch_local=False)
del a
lose()
print(ray.get(x)[0], reason(b), reason(y))
""") == ["11", "OwnerDiedError", "OwnerDiedError"]


def test_what_is_not_made_again_says_why(ray_mpi):
    assert run(ray_mpi, """
@ray.remote(max_restarts=1)
class Maker:
    def numbers(self, n):
        return np.full(1 << 18, n)

@ray.remote(max_retries=2)
def twice(x, path):
    with open(path, "a") as f: f.write("x")
    return x * 2

path = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "runs")
none = numbers.options(scheduling_strategy=there, max_retries=0).remote(1)
once = twice.options(scheduling_strategy=there).remote(none, path)
maker = Maker.options(scheduling_strategy=there).remote()
method = maker.numbers.remote(3)
again = maker.numbers.options(max_task_retries=1).remote(4)
ray.wait([once, method, again], num_returns=3, fetch_local=False)
lose()
print(reason(none), reason(once), reason(method), ray.get(again, timeout=30)[0], open(path).read())
""") == ["OBJECT_UNRECONSTRUCTABLE_RETRIES_DISABLED"] * 3 + ["4", "x"]


def test_a_put_that_is_lost(ray_mpi):
    """A task puts, with this driver's object as its owner's, and the copy here was never made."""
    assert run(ray_mpi, """
x = ray.put(np.full(1 << 18, 1))
y = add.options(scheduling_strategy=there).remote(x, 1)
ray.wait([y], fetch_local=False)
del x
lose()
try:
    ray.get(y, timeout=30)
except ray.exceptions.ObjectReconstructionFailedError as e:
    assert "put()" in str(e), e
    print(e.reason)
""") == ["OBJECT_UNRECONSTRUCTABLE_PUT"]


def test_the_cap(ray_mpi):
    assert run(ray_mpi, """
refs = [numbers.options(scheduling_strategy=there).remote(i) for i in range(20)]
ray.wait(refs, num_returns=20, fetch_local=False)
lose()
print(reason(refs[0]), reason(refs[-1]))
""", env={"RAY_max_lineage_bytes": "2000"}) == ["OBJECT_UNRECONSTRUCTABLE_LINEAGE_EVICTED", "none"]


def test_a_cap_that_is_no_number(ray_mpi):
    done = ray_mpi(ray_mpi.write("app.py", "import ray\nray.init()\n"), env={"RAY_max_lineage_bytes": "1G"})
    assert done.returncode == 1 and "RAY_max_lineage_bytes=1G is not a number of bytes" in done.stderr, done.stderr
