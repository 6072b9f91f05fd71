# SPDX-License-Identifier: Apache-2.0
"""A runtime from nothing, once per process: its caller starts this program anew for every sample.

    start.py first     import, init, first result; the first large put; shutdown
    start.py workers   eight CPUs: eight tasks that meet each other, so that eight processes must be there
"""

import os
import sys
import tempfile
import time

began = time.perf_counter()

import ray  # noqa: E402
from measure import emit  # noqa: E402


@ray.remote
def noop():
    return os.getpid()


@ray.remote
def meet(folder, n):
    open(os.path.join(folder, str(os.getpid())), "w", encoding="ascii").close()
    while len(os.listdir(folder)) < n:
        time.sleep(0.001)
    return os.getpid()


def seconds(name, start):
    emit(row=name, unit="s", samples=[time.perf_counter() - start])


def first():
    ray.init(num_cpus=2, include_dashboard=False)
    ray.get(noop.remote())
    seconds("embedded_init_and_first_result", began)
    put(100_000_000)
    start = time.perf_counter()
    ray.shutdown()
    seconds("embedded_shutdown", start)


def put(number_of_bytes):
    import numpy as np

    array = np.ones(number_of_bytes // 8)
    start = time.perf_counter()
    ray.put(array)
    emit(row="put_gigabytes_cold", unit="GB/s", samples=[number_of_bytes / 1e9 / (time.perf_counter() - start)])


def workers(n=8):
    ray.init(num_cpus=n, include_dashboard=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        assert len(set(ray.get([meet.remote(folder, n) for _ in range(n)]))) == n
        seconds("embedded_8_cold_workers", start)
    ray.shutdown()


if __name__ == "__main__":
    {"first": first, "workers": workers}[sys.argv[1]]()
