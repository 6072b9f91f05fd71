# SPDX-License-Identifier: Apache-2.0
"""Objects on their way between the nodes of a cluster; runs under ray-mpi and under Ray, on nodes that are there.

    srun -N4 ray-mpi network.py get BYTES [IN_FLIGHT]      one node gets what another one has put
    srun -N4 ray-mpi network.py broadcast BYTES            all other nodes get it
    srun -N4 ray-mpi network.py shuffle BLOCKS BYTES       tasks of all nodes have made BLOCKS blocks each; as many
                                                           tasks take one of each as their arguments

Each round has new objects. Prints one JSON line: seconds of each round, the first one not counted.
"""

import sys
import time

import numpy as np
import ray
from measure import emit
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ROUNDS = 7


def on(node):
    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def sent_bytes():
    """What this host's network devices have sent."""
    with open("/proc/net/dev", encoding="ascii") as table:
        return sum(int(line.split(":")[1].split()[8]) for line in table if ":" in line and not line.strip().startswith("lo"))


@ray.remote(num_cpus=0)
class Process:
    """One on each node that takes part, so that all rounds run in the same process."""

    def put(self, size, count):
        return [ray.put(np.full(size, i, np.uint8)) for i in range(count)]

    def get(self, refs):
        start = time.perf_counter()
        values = ray.get(refs)
        seconds = time.perf_counter() - start
        assert all(value[0] == i and value[-1] == i for i, value in enumerate(values))
        return seconds

    def sent(self):
        return sent_bytes()


@ray.remote(num_cpus=0)
def blocks(count, size):
    return [np.full(size, i % 251, np.uint8) for i in range(count)]


@ray.remote(num_cpus=0)
def take(index, *parts):
    assert all(part[0] == index % 251 and part[-1] == index % 251 for part in parts)
    return sum(len(part) for part in parts)


def settle():
    """What the last round left is being freed meanwhile."""
    time.sleep(0.2)


def get(nodes, size, count=1):
    source, reader = (Process.options(scheduling_strategy=on(node)).remote() for node in nodes[-2:])
    samples = []
    for _ in range(ROUNDS):
        refs = ray.get(source.put.remote(size, count))
        samples.append(ray.get(reader.get.remote(refs)))
        del refs
        settle()
    emit(row="get", bytes=size, in_flight=count, samples=samples[1:])


def broadcast(nodes, size):
    source, *readers = (Process.options(scheduling_strategy=on(node)).remote() for node in nodes)
    samples, sent = [], []
    for _ in range(4):
        refs = ray.get(source.put.remote(size, 1))
        before = ray.get(source.sent.remote())
        ray.get([reader.sent.remote() for reader in readers])  # all are there
        start = time.perf_counter()
        ray.get([reader.get.remote(refs) for reader in readers])
        samples.append(time.perf_counter() - start)
        sent.append(ray.get(source.sent.remote()) - before)
        del refs
        settle()
    emit(row="broadcast", bytes=size, receivers=len(readers), samples=samples[1:], source_sent=sent[1:])


def shuffle(nodes, count, size):
    samples = []
    for _ in range(ROUNDS):
        made = [
            blocks.options(num_returns=count, scheduling_strategy=on(nodes[i % len(nodes)])).remote(count, size)
            for i in range(count)
        ]
        ray.wait([ref for row in made for ref in row], num_returns=count * count, fetch_local=False)
        start = time.perf_counter()
        taken = [
            take.options(scheduling_strategy=on(nodes[i % len(nodes)])).remote(i, *column)
            for i, column in enumerate(zip(*made))
        ]
        assert sum(ray.get(taken)) == count * count * size
        samples.append(time.perf_counter() - start)
        del made, taken
        settle()
    emit(row="shuffle", blocks=count, bytes=size, samples=samples[1:])


def main():
    what, *numbers = sys.argv[1:]
    ray.init()
    nodes = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])
    {"get": get, "broadcast": broadcast, "shuffle": shuffle}[what](nodes, *map(int, numbers))


if __name__ == "__main__":
    main()
