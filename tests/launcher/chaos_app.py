# SPDX-License-Identifier: Apache-2.0
"""A workload that checks its own answers while somebody kills its workers and raylets: rounds of map and reduce over
objects small and large, nested references, and actors that keep state.

    ray-mpi -n 4 chaos_app.py SECONDS

Each round's answer is right, or one of the errors comes that are documented for what was killed; then the round is done
again. Prints one line of JSON at the end; the status is 1 when an answer was wrong or something was left.
"""

import collections
import json
import random
import sys
import time

import ray
import ray_mpi
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
    assert ray.get(result, timeout=120) == right, "a wrong sum"
    for memory in ray.get(told, timeout=120):
        assert memory[number] == right[1], "an actor forgot what it was told last"
        assert all(sizes[n] == size for n, size in memory.items()), "an actor remembers something else"


def is_documented(error):
    cause = error.cause if isinstance(error, RayTaskError) else None
    return isinstance(error, DOCUMENTED) or isinstance(cause, DOCUMENTED)


def main(seconds):
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
    left = ("used_bytes", "owned_entries", "borrowed_entries")
    while any(ray_mpi._private_stats()[name] for name in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    stats = ray_mpi._private_stats()
    alive = sum(node["Alive"] for node in ray.nodes())
    print(json.dumps({"rounds": rounds, "errors": errors, "alive": alive, **{name: stats[name] for name in left}}))
    return 1 if any(stats[name] for name in left) else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
