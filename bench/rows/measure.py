# SPDX-License-Identifier: Apache-2.0
"""How every row is measured, under any implementation of the `ray` API.

A row is a function that prepares what it needs and returns (call, units): `call()` does the work once, which counts
as `units` units. One round is as many calls as fill about ROUND_S, found in a warm-up round that is not counted; at
least MIN_ROUNDS rounds and MIN_TOTAL_S seconds are taken. A program of rows prints one JSON line for each.
"""

import argparse
import dataclasses
import gc
import json
import os
import platform
import sys
import time
import typing

MIN_ROUNDS = 5
MIN_TOTAL_S = 2.0
ROUND_S = 0.4

registry = {}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table, as its program declares it."""

    name: str
    unit: str
    prepare: typing.Callable
    once: bool
    value: bool

    def samples(self):
        return [self.prepare()] if self.value else rates(*self.prepare(), self.once)


def row(name, unit, once=False, value=False):
    """Register a row.

    once: one call is long, so it is a round by itself. value: the function returns the figure, there are no rounds.
    """

    def register(prepare):
        registry[name] = Row(name, unit, prepare, once, value)
        return prepare

    return register


def calls_per_round(call, once):
    """The warm-up round; tells how many calls make one round."""
    start = time.perf_counter()
    calls = 0
    while True:
        call()
        calls += 1
        spent = time.perf_counter() - start
        if once or spent > ROUND_S / 2:
            return 1 if once else max(1, round(calls * ROUND_S / spent))


def rates(call, units, once):
    """Units per second of each round."""
    calls = calls_per_round(call, once)
    found, begin = [], time.perf_counter()
    while len(found) < MIN_ROUNDS or time.perf_counter() - begin < MIN_TOTAL_S:
        gc.collect()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found.append(units * calls / (time.perf_counter() - start))
    return found


def emit(**fields):
    print(json.dumps(fields), flush=True)


def versions():
    import ray

    found = {"python": platform.python_version(), "ray": ray.__version__}
    if "numpy" in sys.modules:
        found["numpy"] = sys.modules["numpy"].__version__
    return found


def main(**init):
    """Run the rows of one program in one runtime of two CPUs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="", help="comma-separated; default: all of this program")
    parser.add_argument("--full", action="store_true", help="the long form of rows that have one")
    options = parser.parse_args()
    wanted = options.rows.split(",") if options.rows else list(registry)
    if options.full:
        os.environ["BENCH_FULL"] = "1"

    import ray

    ray.init(num_cpus=2, include_dashboard=False, **init)
    for name in wanted:
        try:
            emit(row=name, unit=registry[name].unit, samples=registry[name].samples(), **versions())
        except Exception as error:  # a row that fails is reported and the others still run
            emit(row=name, unit=registry[name].unit, error=f"{type(error).__name__}: {error}"[:500], **versions())
        gc.collect()
    ray.shutdown()


def full():
    return os.environ.get("BENCH_FULL") == "1"
