# SPDX-License-Identifier: Apache-2.0
"""bench/rows/sort.py in small: more records than all object stores hold, within the memory that the nodes have."""

import json
import os

import pytest

from conftest import RAY_MPI, ROOT, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")


def test_a_sort_of_more_than_memory_holds(lab):
    """252 MiB of records in stores of 4 x 32 MiB; every record is checked by the program itself."""
    spill = lab.shared / "spill-of-sort"
    options = ["--num-cpus", "2", "--object-store-memory", "32M", "--object-spilling-directory", spill]
    for node in lab.nodes:
        lab.limit(node, memory="400M")
    try:
        done = srun(lab, *options, ROOT / "bench/rows/sort.py", "--size", "256MiB", "--block", "6MiB", timeout_s=120)
    finally:
        for node in lab.nodes:
            lab.limit(node, memory="3000M")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] > 250 << 20
    assert "checked: 42 of 42" in done.stderr
    assert os.listdir(spill) == []
