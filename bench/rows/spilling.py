# SPDX-License-Identifier: Apache-2.0
"""Ten times the object store through it: written to disk by put, read back by get.

Each figure is a rate as a part of that of plain writes or reads of as many bytes to a file of the same folder, 8 MiB
at a time, without fsync, right after it: what neither has to be durable for. So the page cache serves both.
"""

import gc
import os
import statistics
import tempfile
import time

import numpy as np
import ray
from measure import main, row

STORE = 100 << 20
BYTES = 10 * STORE
CHUNK = 8 << 20
ROUNDS = 3
FOLDER = tempfile.TemporaryDirectory(prefix="ray-mpi-bench-spill-")


def plain():
    """Seconds of writing and of reading BYTES."""
    path = os.path.join(FOLDER.name, "plain")
    chunk = np.random.default_rng(1).integers(0, 256, CHUNK, dtype=np.uint8)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(BYTES // CHUNK):
            file.write(chunk)
    written = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(chunk):
            pass
    read = time.perf_counter()
    os.unlink(path)
    return written - start, read - written


def through_the_store(size):
    """Seconds of putting objects of that size, and of getting them all."""
    value = np.random.default_rng(2).integers(0, 256, size, dtype=np.uint8)
    start = time.perf_counter()
    refs = [ray.put(value) for _ in range(BYTES // size)]
    put = time.perf_counter()
    bad = 0
    for ref in refs:
        array = ray.get(ref)
        bad += array[0] != value[0] or array[-1] != value[-1]
        del array
    got = time.perf_counter()
    assert bad == 0 and np.array_equal(ray.get(refs[len(refs) // 2]), value)
    del refs
    gc.collect()
    return put - start, got - put


def parts(size):
    """Of the plain rates: (write, read), medians of some rounds."""
    through_the_store(size)
    found = []
    for _ in range(ROUNDS):
        ours, limit = through_the_store(size), plain()
        found.append((limit[0] / ours[0], limit[1] / ours[1]))
    return [statistics.median(values) for values in zip(*found)]


measured = {}


def part(size, which):
    if size not in measured:
        measured[size] = parts(size)
    return measured[size][which]


@row("spill_8MiB_of_plain_write", "of a plain write", value=True)
def spill_large():
    return part(8 << 20, 0)


@row("restore_8MiB_of_plain_read", "of a plain read", value=True)
def restore_large():
    return part(8 << 20, 1)


@row("spill_128KiB_of_plain_write", "of a plain write", value=True)
def spill_small():
    return part(128 << 10, 0)


@row("restore_128KiB_of_plain_read", "of a plain read", value=True)
def restore_small():
    return part(128 << 10, 1)


if __name__ == "__main__":
    main(object_store_memory=STORE, object_spilling_directory=FOLDER.name)
