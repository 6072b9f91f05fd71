# SPDX-License-Identifier: Apache-2.0
"""A sort of more records than all object stores together hold, checked; runs under ray-mpi and under Ray.

    ray-mpi sort.py [--size 4GiB] [--block 32MiB]

Blocks of records of 100 bytes with a random key are made by tasks on all nodes, each of which sorts its block and
cuts it into as many ranges of keys as there are blocks. One task for each range merges what all blocks have of it. Of
the result a third kind of task reads all: keys in order, and the same records as were made (their number and the sum
of a hash over each). Everything lies in the object stores, and on disk where those are full.
"""

import argparse
import sys
import time

import numpy as np
import ray
from measure import emit

RECORD = np.dtype([("key", "<u8"), ("rest", "V92")])
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(text):
    return next(int(float(text[: -len(unit)]) * scale) for unit, scale in UNITS.items() if text.endswith(unit))


def hash_sum(records):
    """The same for any order of the records; each of their bytes counts."""
    words = np.frombuffer(memoryview(records).cast("B"), np.uint32).reshape(-1, RECORD.itemsize // 4)
    total = np.zeros(len(words), np.uint64)
    for column in range(words.shape[1]):
        total += words[:, column]
        total *= np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return int(total.sum(dtype=np.uint64))


@ray.remote(scheduling_strategy="SPREAD")
def scatter(block, count, ranges):
    """Makes a block; returns the hash of its records and, for each range of keys, its sorted records."""
    random = np.random.default_rng(block)
    records = np.frombuffer(random.bytes(count * RECORD.itemsize), RECORD)
    checksum = hash_sum(records)
    records = records[np.argsort(records["key"])]
    cuts = [(1 << 64) * i // ranges for i in range(1, ranges)]
    bounds = [0, *np.searchsorted(records["key"], np.array(cuts, np.uint64)), count]
    return checksum, *(records[begin:end] for begin, end in zip(bounds, bounds[1:]))


@ray.remote
def merge(*runs):
    records = np.concatenate(runs)
    return records[np.argsort(records["key"], kind="stable")]


@ray.remote
def check(records):
    keys = records["key"]
    in_order = bool((keys[1:] >= keys[:-1]).all())
    return in_order, len(keys), int(keys[0]), int(keys[-1]), hash_sum(records)


def finish(name, refs):
    """The results of all, in their order; tells once a second how many there are."""
    began, waiting = time.monotonic(), list(refs)
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=1, fetch_local=False)
        done = len(refs) - len(waiting)
        print(f"{name}: {done} of {len(refs)} after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size, default="4GiB", help="of all records")
    parser.add_argument("--block", type=size, default="32MiB", help="what one task makes, or merges")
    options = parser.parse_args()
    ray.init()
    blocks = max(1, options.size // options.block)
    count = options.block // RECORD.itemsize
    began = time.monotonic()
    made = [scatter.options(num_returns=blocks + 1).remote(block, count, blocks) for block in range(blocks)]
    sums = [block.pop(0) for block in made]
    merged = [merge.remote(*column) for column in zip(*made)]
    del made
    finish("made", sums)
    finish("merged", merged)
    sorted_s = time.monotonic() - began
    checked = [check.remote(part) for part in merged]
    finish("checked", checked)
    parts = ray.get(checked)
    assert all(in_order for in_order, *_ in parts), "keys are not in order"
    assert all(a[3] <= b[2] for a, b in zip(parts, parts[1:])), "ranges are not in order"
    assert sum(part[1] for part in parts) == blocks * count, "records are missing"
    assert sum(part[4] for part in parts) % 2**64 == sum(ray.get(sums)) % 2**64, "records are not those that were made"
    emit(row="sort", bytes=blocks * count * RECORD.itemsize, sorted_s=sorted_s, checked_s=time.monotonic() - began - sorted_s)


if __name__ == "__main__":
    main()
