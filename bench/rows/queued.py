# SPDX-License-Identifier: Apache-2.0
"""A long queue: tasks submitted behind workers that are all busy, then let go.

The rate counts from the first submission to the last result. `queued_task_bytes` is what the submitting process grew
by, per task, while all of them waited.
"""

import os
import tempfile
import time

import ray
from measure import full, main, row


@ray.remote
def noop():
    return None


@ray.remote
def block(gate):
    while not os.path.exists(gate):
        time.sleep(0.002)


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def submit_behind_blocked(n):
    """Returns by how many bytes per task this process grew while they waited."""
    with tempfile.TemporaryDirectory() as folder:
        gate = os.path.join(folder, "open")
        blockers = [block.remote(gate) for _ in range(2)]
        before = resident_bytes()
        refs = [noop.remote() for _ in range(n)]
        growth = (resident_bytes() - before) / n
        with open(gate, "w", encoding="ascii"):
            pass
        ray.get(refs)
        ray.get(blockers)
    return growth


@row("queued_tasks", "tasks/s", once=True)
def queued():
    n = 50_000 if full() else 5_000
    return lambda: submit_behind_blocked(n), n


@row("queued_task_bytes", "B/task", value=True)
def queued_bytes():
    """Of the first queue of a process: later ones reuse its memory."""
    return submit_behind_blocked(10_000)


if __name__ == "__main__":
    main()
