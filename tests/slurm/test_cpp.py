# SPDX-License-Identifier: Apache-2.0
"""A C++ program in a real Slurm: driver on one node, workers (the same program) on all four."""

import os
import time

import pytest

from conftest import ROOT, find_ray_mpi

RAY_MPI = find_ray_mpi()
PROGRAM = os.environ.get("RAY_MPI_CPP_API_TEST", ROOT / "build/release/tests/cpp/cpp_api_test")
pytestmark = pytest.mark.skipif(
    not RAY_MPI or not os.path.exists(PROGRAM),
    reason="not built (set RAY_MPI_EXE and RAY_MPI_CPP_API_TEST, or build build/release)",
)


def test_the_whole_api_works_on_four_nodes(lab):
    before = set(lab.left_behind())
    options = ("--num-cpus", "2", "--num-gpus", "2", "--object-store-memory", "256M")
    done = lab.run("srun", "-N4", RAY_MPI, *options, PROGRAM, "--nodes=4", f"--shared={lab.shared}", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[  PASSED  ]" in done.stdout and "FAILED" not in done.stdout
    deadline = time.monotonic() + 15
    while (rest := set(lab.left_behind()) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not rest, "left behind"
