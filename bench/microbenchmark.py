#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The metrics of `ray microbenchmark` for tasks, objects and wait, under their names, of whichever `ray` is imported.

    ray-mpi bench/microbenchmark.py [--filter PATTERN] [--json FILE]

Each line is the mean and the deviation of several rounds, per second.
"""

import argparse
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "rows"))

import many  # noqa: E402, F401  (importing a program of rows registers them)
import measure  # noqa: E402
import objects  # noqa: E402
import ray  # noqa: E402
import tasks  # noqa: E402, F401
import waiting  # noqa: E402, F401

# printed name -> row of bench/rows
METRICS = {
    "single client get calls (Plasma Store)": "single_client_get_calls",
    "single client put calls (Plasma Store)": "single_client_put_calls",
    "multi client put calls (Plasma Store)": "multi_client_put_calls",
    "single client put gigabytes": "single_client_put_gigabytes_800MB",
    "single client tasks and get batch": "single_client_tasks_and_get_batch",
    "single client get object containing 10k refs": "single_client_get_object_containing_10k_refs",
    "single client wait 1k refs": "single_client_wait_1k_refs",
    "single client tasks sync": "single_client_tasks_sync",
    "single client tasks async": "single_client_tasks_async",
    "multi client tasks async": "multi_client_tasks_async",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="", help="only metrics whose name contains this")
    parser.add_argument("--json", help="write {name: {mean, deviation, unit}} to this file, too")
    options = parser.parse_args()

    ray.init(object_store_memory=objects.STORE_BYTES)
    results = {}
    for name, row_name in METRICS.items():
        if options.filter not in name:
            continue
        row = measure.registry[row_name]
        samples = row.samples()
        mean, deviation = statistics.mean(samples), statistics.stdev(samples)
        results[name] = {"mean": mean, "deviation": deviation, "unit": row.unit}
        print(f"{name} per second {mean:.2f} +- {deviation:.2f}", flush=True)
    ray.shutdown()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
