# SPDX-License-Identifier: Apache-2.0
"""Generators on three ranks: items of one node read on others, and what deaths do to a stream."""

import pytest

from test_mpirun import THREE

pytestmark = pytest.mark.usefixtures("mpirun")

STREAMS = (
    THREE
    + """
import signal, time
import numpy as np
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

nodes = [node["NodeID"] for node in ray.nodes()]
def on(node, function, **options):
    return function.options(scheduling_strategy=On(node, soft=False), **options)

@ray.remote
def parts(n, size):
    for i in range(n):
        yield np.full(size, i)

@ray.remote
def total(array):
    return int(array.sum())
"""
)


def test_items_travel_between_nodes(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        STREAMS
        + """
print(len(nodes))
for size in (10, 300_000):
    streams = [on(node, parts).remote(4, size) for node in nodes]
    sums = [on(nodes[(i + 1) % 3], total).remote(ref) for i, stream in enumerate(streams) for ref in stream]
    print(ray.get(sums) == [size * i for i in range(4)] * 3)
@ray.remote
def first_of(node, n):  # a reader that is no driver, of a task on another node still
    stream = on(node, parts).remote(n, 300_000)
    return [int(ray.get(ref)[0]) for ref in stream]
print(ray.get([on(nodes[i], first_of).remote(nodes[(i + 2) % 3], 3) for i in range(3)]))
limited = on(nodes[1], parts, _generator_backpressure_num_objects=2).remote(50, 300_000)
print(sum(int(ray.get(ref)[0]) for ref in limited))
dynamic = ray.get(on(nodes[2], parts, num_returns="dynamic").remote(3, 300_000))
print([int(ray.get(ref)[0]) for ref in dynamic])
abandoned = on(nodes[1], parts).remote(50, 300_000)
next(abandoned)
del abandoned, limited, dynamic, streams, sums
import ray_mpi
def left():
    return ray_mpi._private_stats()["owned_objects"]
until = time.time() + 20
while left() > 0 and time.time() < until:
    time.sleep(0.05)
print("left", left())
""",
    )
    run = ray_mpi("-n", "3", "--num-cpus", "2", path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[:7] == [
        "3", "True", "True", "[[0, 1, 2], [0, 1, 2], [0, 1, 2]]", "1225", "[0, 1, 2]", "left 0",
    ], run.stdout  # fmt: skip


def test_a_worker_killed_in_the_middle_and_a_dead_caller(ray_mpi, tmp_path):
    path = ray_mpi.write(
        "app.py",
        STREAMS
        + f"""
folder = {str(tmp_path)!r}
"""
        + """
@ray.remote(max_retries=1)
def killed(size):
    runs = os.path.join(folder, "runs")
    again = os.path.exists(runs)
    open(runs, "a").write("x")
    for i in range(6):
        if i == 3 and not again:
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        yield np.full(size, 10 * again + i)
print([int(ray.get(ref)[0]) for ref in on(nodes[1], killed).remote(300_000)])

@ray.remote
class Source:
    def __init__(self):
        self.closed = 0
    async def numbers(self):
        try:
            for i in range(1_000_000):
                yield i
        finally:
            self.closed += 1
    async def closed_streams(self):
        return self.closed
source = on(nodes[2], Source).remote()

@ray.remote(max_retries=0)
def reader(source):
    limited = source.numbers.options(_generator_backpressure_num_objects=2).remote()
    kept = [next(limited) for _ in range(3)]
    os.kill(os.getpid(), signal.SIGKILL)
try:
    ray.get(on(nodes[1], reader).remote(source))
except ray.exceptions.WorkerCrashedError:
    print("reader died")
until = time.time() + 20
while ray.get(source.closed_streams.remote()) == 0 and time.time() < until:
    time.sleep(0.05)
print("closed", ray.get(source.closed_streams.remote()))
""",
    )
    run = ray_mpi("-n", "3", "--num-cpus", "2", path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[:3] == ["[0, 1, 2, 13, 14, 15]", "reader died", "closed 1"], run.stdout
