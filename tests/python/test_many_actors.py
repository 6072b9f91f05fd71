# SPDX-License-Identifier: Apache-2.0
"""More actors than a node has CPUs, by far: each costs a process, and what it touches."""

import os
import time

import pytest
import ray
from support import get

pytestmark = [pytest.mark.usefixtures("ray_2cpu"), pytest.mark.ours_only("Ray would take minutes")]

# More than the slots that a receiver looks at without a summary (runtime/lane).
MANY = 450


@ray.remote(num_cpus=0)
class Cell:
    def __init__(self, number):
        self.number = number

    def ask(self, neighbour):
        return os.getpid(), self.number, neighbour and get(neighbour.read.remote())

    def read(self):
        return self.number


def test_hundreds_of_actors_made_called_and_dropped():
    cells = [Cell.remote(i) for i in range(MANY)]
    asked = [cell.ask.remote(cells[i - 1] if i % 50 == 49 else None) for i, cell in enumerate(cells)]
    answers = ray.get(asked, timeout=300)
    assert [number for _, number, _ in answers] == list(range(MANY))
    assert [read for _, _, read in answers if read is not None] == list(range(48, MANY, 50))
    pids = [pid for pid, _, _ in answers]
    assert len(set(pids)) == MANY
    for threads_or_files in ("task", "fd"):
        assert len(os.listdir(f"/proc/{pids[-1]}/{threads_or_files}")) <= 8
    del cells, asked, answers
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert get(Cell.remote(7).read.remote()) == 7
