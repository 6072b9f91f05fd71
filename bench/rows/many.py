# SPDX-License-Identifier: Apache-2.0
"""Thousands at once: refs in one get, refs in one object, arguments of one task, results of one task."""

import ray
from measure import main, row

MANY = 10_000
RESULTS = 3_000


@ray.remote
def make_refs():
    return [ray.put(1) for _ in range(MANY)]


@ray.remote
def count(*numbers):
    return len(numbers)


@ray.remote(num_returns=RESULTS)
def spread():
    return range(RESULTS)


@row("get_10k_refs", "gets/s")
def get_many():
    refs = [ray.put(i) for i in range(MANY)]
    return lambda: ray.get(refs), 1


@row("single_client_get_object_containing_10k_refs", "gets/s")
def get_containing():
    outer = make_refs.remote()
    ray.wait([outer])
    return lambda: ray.get(outer), 1


@row("task_with_10k_args", "tasks/s", once=True)
def many_arguments():
    refs = [ray.put(i) for i in range(MANY)]
    return lambda: ray.get(count.remote(*refs)), 1


@row("task_with_3k_returns", "tasks/s", once=True)
def many_results():
    return lambda: ray.get(spread.remote()), 1


if __name__ == "__main__":
    main()
