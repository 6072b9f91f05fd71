# SPDX-License-Identifier: Apache-2.0
"""The grid as Python tasks, under any implementation of the `ray` API: each point is a task whose arguments are refs
to the points it depends on; the whole grid is submitted before anything is waited for.

    metg.py KERNEL_LIBRARY stencil_1d|nearest|no_dependency WIDTH STEPS REPEATS ITERATIONS[,ITERATIONS...]
"""

import ctypes
import json
import os
import sys
import time

import ray

MASK = 2**64 - 1
REACH = {"stencil_1d": 1, "nearest": 2, "no_dependency": None}


def load(path, loaded={}):  # noqa: B006: once per process
    if path not in loaded:
        kernel = ctypes.CDLL(path).metg_kernel
        kernel.argtypes, kernel.restype = [ctypes.c_uint64], ctypes.c_double
        loaded[path] = kernel
    return loaded[path]


@ray.remote
def point(iterations, *inputs):
    load(os.environ["METG_KERNEL"])(iterations)
    return (1 + sum(inputs)) & MASK


def inputs(pattern, width, column):
    reach = REACH[pattern]
    return slice(0, 0) if reach is None else slice(max(0, column - reach), min(width, column + reach + 1))


def expected(pattern, width, steps):
    row = [1] * width
    for _ in range(steps - 1):
        row = [(1 + sum(row[inputs(pattern, width, i)])) & MASK for i in range(width)]
    return sum(row) & MASK


def run(pattern, width, steps, iterations):
    start = time.perf_counter()
    row = [point.remote(iterations) for _ in range(width)]
    for _ in range(steps - 1):
        row = [point.remote(iterations, *row[inputs(pattern, width, i)]) for i in range(width)]
    total = sum(ray.get(row)) & MASK
    return time.perf_counter() - start, total


def main():
    if len(sys.argv) != 7 or sys.argv[2] not in REACH:
        sys.exit(__doc__)
    os.environ["METG_KERNEL"] = sys.argv[1]
    pattern = sys.argv[2]
    width, steps, repeats = map(int, sys.argv[3:6])
    ray.init(num_cpus=2, include_dashboard=False)
    run(pattern, width, steps, 1)  # workers are there, the function is known
    for iterations in map(int, sys.argv[6].split(",")):
        seconds = []
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            took, total = run(pattern, width, steps, iterations)
            seconds.append(took)
            if total != expected(pattern, width, steps):
                sys.exit("metg.py: the last row's sum is wrong")
        driver = (time.process_time() - cpu) / (time.perf_counter() - start)
        report = {"system": "Python tasks", "pattern": pattern, "width": width, "steps": steps, "iterations": iterations}
        print(json.dumps({**report, "driver_cpu": round(driver, 2), "seconds": seconds}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
