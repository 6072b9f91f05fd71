# SPDX-License-Identifier: Apache-2.0
"""What a node held that dies is made again, on three ranks; what is not says why."""

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

# `other`: the node that `lose()` kills, by the raylet of its rank.
START = """
import os, subprocess, sys, time
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
    subprocess.run(["pkill", "-KILL", "-P", str(os.getppid()), "-x", "ray-mpi-raylet"])  # the keeper's child
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
refs = []
for i in range(20):  # one by one: what was done first is forgotten first
    refs.append(numbers.options(scheduling_strategy=there).remote(i))
    ray.wait(refs[-1:], fetch_local=False)
lose()
print(reason(refs[0]), reason(refs[-1]))
""", env={"RAY_max_lineage_bytes": "2000"}) == ["OBJECT_UNRECONSTRUCTABLE_LINEAGE_EVICTED", "none"]


def test_a_cap_that_is_no_number(ray_mpi):
    done = ray_mpi(ray_mpi.write("app.py", "import ray\nray.init()\n"), env={"RAY_max_lineage_bytes": "1G"})
    assert done.returncode == 1 and "RAY_max_lineage_bytes=1G is not a number of bytes" in done.stderr, done.stderr


def test_items_of_a_generator_come_back(ray_mpi):
    """Taken ones and untaken ones, of generators with a window and without, read and dropped."""
    assert run(ray_mpi, """
@ray.remote(num_returns="streaming")
def stream(n, path):
    with open(path, "a") as f: f.write("x")
    for i in range(n):
        yield np.full(1 << 17, i)

path = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "runs")
plain = stream.options(scheduling_strategy=there).remote(4, path)
taken = [next(plain) for _ in range(2)]
narrow = stream.options(scheduling_strategy=there, _generator_backpressure_num_objects=2).remote(5, path)
first = [next(narrow) for _ in range(5)]
del first[:3]
gone = stream.options(scheduling_strategy=there).remote(3, path)
one = [next(gone) for _ in range(3)][1]
list(gone)
del gone
ray.wait([plain.completed(), narrow.completed()], num_returns=2)
lose()
print([int(ray.get(r, timeout=30)[0]) for r in taken + list(plain) + first + list(narrow)], int(ray.get(one, timeout=30)[7]))
print(len(open(path).read()))
""") == ["[0,", "1,", "2,", "3,", "3,", "4]", "1", "6"]


def test_a_dynamic_task_gives_its_items_again(ray_mpi):
    assert run(ray_mpi, """
@ray.remote(num_returns="dynamic")
def several(n):
    for i in range(n):
        yield np.full(1 << 17, i)

items = list(ray.get(several.options(scheduling_strategy=there).remote(4)))
doubled = [add.options(scheduling_strategy=there).remote(r, r) for r in items]
ray.wait(doubled, num_returns=4, fetch_local=False)
del items[2:]  # needed for what was made of them only
lose()
print([int(ray.get(r, timeout=30)[0]) for r in items + doubled])
""") == ["[0,", "1,", "0,", "2,", "4,", "6]"]


def test_items_that_are_not_given_again_say_why(ray_mpi):
    assert run(ray_mpi, """
@ray.remote(num_returns="streaming")
def stream(n, path):
    again = os.path.exists(path)
    open(path, "w").close()
    for i in range(n - 1 if again else n):
        yield np.full(1 << 17, i)

@ray.remote(max_restarts=1)
class Maker:
    def stream(self, n):
        for i in range(n):
            yield np.full(1 << 17, i)

def path(name):
    return os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)

there_once = stream.options(scheduling_strategy=there, max_retries=0).remote(2, path("a"))
fewer = stream.options(scheduling_strategy=there).remote(3, path("b"))
maker = Maker.options(scheduling_strategy=there).remote()
method = maker.stream.options(num_returns="streaming").remote(2)
again = maker.stream.options(num_returns="streaming", max_task_retries=1).remote(2)
refs = [list(g) for g in (there_once, fewer, method, again)]
ray.wait([r for some in refs for r in some], num_returns=9, fetch_local=False)
lose()
print(reason(refs[0][1]), reason(refs[2][0]))
print([int(ray.get(r, timeout=30)[0]) for r in refs[1][:2] + refs[3]])
try:
    ray.get(refs[1][2], timeout=30)
except ray.exceptions.RayError as e:
    print("fewer" in str(e))
""") == ["OBJECT_UNRECONSTRUCTABLE_RETRIES_DISABLED"] * 2 + ["[0,", "1,", "0,", "1]", "True"]


def test_errors_name_the_node_that_died(ray_mpi):
    """What a task, an actor, a call and a borrowed ref say: which node, host, rank and raylet, when, how."""
    out = run(ray_mpi, """
import re

@ray.remote(max_retries=0)
def sleeps():
    time.sleep(60)

@ray.remote
class Owner:
    def make(self):
        return [ray.put(np.full(1 << 18, 1))]

gone = Owner.options(scheduling_strategy=just_there).remote()
ref = ray.get(gone.make.remote())[0]
task = sleeps.options(scheduling_strategy=just_there, num_cpus=0).remote()
time.sleep(1)
lose()
for what in (task, gone.make.remote(), ref):
    try:
        ray.get(what, timeout=30)
    except ray.exceptions.RayError as e:
        said = r"node \\d \\(.+, .+, rank [12], raylet \\d+\\) is dead, at \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d: its raylet's connection closed"
        print(type(e).__name__, bool(re.search(said, str(e))) or str(e))
""")
    assert out == ["NodeDiedError", "True", "ActorDiedError", "True", "OwnerDiedError", "True"], out
