# SPDX-License-Identifier: Apache-2.0
"""Calls of tasks that do nothing: one at a time, many at a time, with an argument, from several submitters."""

import numpy as np
import ray
from measure import full, main, row


@ray.remote
def noop():
    return b"ok"


@ray.remote
def noop_with(array):
    return b"ok"


@ray.remote(num_cpus=0)
def submit(n):
    ray.get([noop.remote() for _ in range(n)])


@row("single_client_tasks_sync", "tasks/s")
def tasks_sync():
    return lambda: ray.get(noop.remote()), 1


@row("single_client_tasks_async", "tasks/s")
def tasks_async():
    return lambda: ray.get([noop.remote() for _ in range(1000)]), 1000


@row("single_client_tasks_and_get_batch", "batches/s")
def tasks_batch():
    return lambda: ray.get([noop.remote() for _ in range(1000)]), 1


@row("single_client_tasks_with_array_async", "tasks/s")
def tasks_with_array():
    array = np.arange(100)
    return lambda: ray.get([noop_with.remote(array) for _ in range(1000)]), 1000


@row("multi_client_tasks_async", "tasks/s", once=True)
def multi_client():
    clients, each = 4, 10_000 if full() else 1_000
    return lambda: ray.get([submit.remote(each) for _ in range(clients)]), clients * each


if __name__ == "__main__":
    main()
