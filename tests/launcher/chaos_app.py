# SPDX-License-Identifier: Apache-2.0
"""A workload that checks its own answers while somebody kills its workers and raylets: rounds of map and reduce over
objects small and large, nested references, generators of tasks and of actors, and actors that keep state.

    ray-mpi -n 4 chaos_app.py SECONDS [FILE]

Each round's answer is right, or one of the errors comes that are documented for what was killed; then the round is done
again. Prints one line of JSON at the end, and stays until FILE is there, so that others can look at what is left; the
status is 1 when an answer was wrong, or an object left.
"""

import collections
import json
import os
import random
import sys
import time

import ray
import ray_mpi
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.exceptions import ActorUnavailableError, ObjectLostError, OwnerDiedError, RayTaskError

WIDTH = 12
DOCUMENTED = (ObjectLostError, OwnerDiedError, ActorUnavailableError)
LARGE = 200_000  # in the object store


@ray.remote(max_retries=-1)
def make(seed):
    numbers = random.Random(seed)
    return [numbers.randrange(1000) for _ in range(2000)], bytes(numbers.randrange(LARGE, 2 * LARGE))


@ray.remote(max_retries=-1)
def count(part):
    return collections.Counter(n % 10 for n in part[0]), len(part[1])


@ray.remote(max_retries=-1)
def merge(pairs):
    """References inside an argument: they are got here, in a tree."""
    if len(pairs) > 3:
        half = len(pairs) // 2
        return merge_values(ray.get([merge.remote(pairs[:half]), merge.remote(pairs[half:])]))
    return merge_values(ray.get(pairs))


def merge_values(values):
    total = collections.Counter()
    for counter, _ in values:
        total.update(counter)
    return total, sum(size for _, size in values)


@ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Keeper:
    """Remembers what it was told since its present incarnation began."""

    def __init__(self):
        self.told = {}

    def tell(self, number, refs):
        self.told[number] = ray.get(refs[0])[1]
        return dict(self.told)

    def stream(self, seed):
        yield from items(seed)


def items(seed):
    numbers = random.Random(seed)
    for size in (numbers.choice((100, LARGE)) for _ in range(8)):
        yield bytes([seed % 251]) * size


@ray.remote(max_retries=-1, scheduling_strategy="SPREAD")
def stream(seed):
    yield from items(seed)


def read(generator, seed):
    """Half of the refs are kept while the rest of the stream is read: their nodes may die meanwhile."""
    kept = []
    for number, (ref, right) in enumerate(zip(generator, items(seed))):
        if number % 2:
            kept.append((ref, right))
        else:
            assert ray.get(ref, timeout=120) == right, "a wrong item"
    assert number == 7, "a stream ended early"
    assert next(generator, None) is None, "a stream has too many items"
    return kept


def expected(seeds):
    total, size = collections.Counter(), 0
    for seed in seeds:
        numbers = random.Random(seed)
        total.update(numbers.randrange(1000) % 10 for _ in range(2000))
        size += numbers.randrange(LARGE, 2 * LARGE)
    return total, size


def one_round(number, keepers, sizes):
    seeds = range(number * WIDTH, (number + 1) * WIDTH)
    right = expected(seeds)
    sizes[number] = right[1]
    result = merge.remote([count.remote(make.remote(seed)) for seed in seeds])
    told = [keeper.tell.remote(number, [result]) for keeper in keepers]
    narrow = {"_generator_backpressure_num_objects": 2}
    again = read(stream.options(**narrow).remote(number), number) + read(stream.remote(number), number)
    again += read(keepers[0].stream.options(num_returns="streaming", **narrow).remote(number), number)
    half_read = stream.remote(number)
    next(half_read)
    del half_read
    assert ray.get(result, timeout=120) == right, "a wrong sum"
    for memory in ray.get(told, timeout=120):
        assert memory[number] == right[1], "an actor forgot what it was told last"
        assert all(sizes[n] == size for n, size in memory.items()), "an actor remembers something else"
    for ref, right in again:
        assert ray.get(ref, timeout=120) == right, "another item than before"


def is_documented(error):
    cause = error.cause if isinstance(error, RayTaskError) else None
    return isinstance(error, DOCUMENTED) or isinstance(cause, DOCUMENTED)


@ray.remote(num_cpus=0, max_retries=-1)
def store_use():
    return ray_mpi._private_stats()["used_bytes"]


def stores_in_use(nodes):
    there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    return sum(ray.get([store_use.options(scheduling_strategy=node).remote() for node in there], timeout=60))


def main(seconds, stay_until=None):
    ray.init()
    keepers = [Keeper.remote() for _ in range(4)]
    sizes, errors = {}, collections.Counter()
    number = rounds = 0
    print("up", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        try:
            one_round(number, keepers, sizes)
            rounds += 1
        except Exception as error:
            if not is_documented(error):
                raise
            errors[type(error).__name__] += 1
    print("over", flush=True)
    del keepers
    deadline = time.monotonic() + 30
    names = ("owned_entries", "borrowed_entries", "pending_tasks")
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    while time.monotonic() < deadline:
        left = {"used_bytes": stores_in_use(alive)}
        left |= {name: ray_mpi._private_stats()[name] for name in names}
        if not any(left.values()):
            break
        time.sleep(0.2)
    print(json.dumps({"rounds": rounds, "errors": errors, "alive": len(alive), **left}), flush=True)
    while stay_until and not os.path.exists(stay_until):
        time.sleep(0.05)
    return 1 if any(left.values()) else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *sys.argv[2:]))
