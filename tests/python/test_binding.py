# SPDX-License-Identifier: Apache-2.0
"""Which CPUs a task runs on, as the kernel shows it."""

import json
import os

import pytest
from support import run_program

MINE = sorted(os.sched_getaffinity(0))

pytestmark = [
    pytest.mark.ours_only("Ray binds nobody"),
    pytest.mark.skipif(len(MINE) < 2, reason="there is one CPU: nothing to choose from"),
]

HEAD = """
import json, os, threading, time, ray

@ray.remote
def cpus(seconds=0):
    time.sleep(seconds)
    return sorted(os.sched_getaffinity(0))

@ray.remote
class Keeper:
    def cpus(self):
        return sorted(os.sched_getaffinity(0))

def show(value):
    print(json.dumps(value))
"""


def shown(folder, text, **kwargs):
    done = run_program(folder, HEAD + text, **kwargs)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_whole_cpus_are_bound_and_nothing_else(tmp_path):
    alone, pair, both, part, none, again = shown(
        tmp_path,
        """
ray.init(num_cpus=2)
show(ray.get(cpus.remote()))
show(ray.get([cpus.remote(1), cpus.remote(1)]))
show(ray.get(cpus.options(num_cpus=2).remote()))
show(ray.get(cpus.options(num_cpus=0.5).remote()))
show(ray.get(cpus.options(num_cpus=0).remote()))
show(ray.get(cpus.remote()))
""",
    )
    assert len(alone) == len(again) == 1
    assert len(pair[0]) == len(pair[1]) == 1 and pair[0] != pair[1]
    assert len(both) == 2
    assert part == none == MINE
    assert set(alone + pair[0] + pair[1] + both) <= set(MINE)


def test_threads_are_bound_too(tmp_path):
    (inside,) = shown(
        tmp_path,
        """
@ray.remote
def threads():
    return sorted({tuple(sorted(os.sched_getaffinity(int(t)))) for t in os.listdir("/proc/self/task")})

ray.init(num_cpus=2)
ray.get([cpus.options(num_cpus=0).remote(0.2) for _ in range(4)])
show(ray.get(threads.remote()))
""",
    )
    assert len(inside) == 1 and len(inside[0]) == 1, inside


def test_an_actor_keeps_its_cpus(tmp_path):
    first, other, second, free = shown(
        tmp_path,
        """
ray.init(num_cpus=2)
keeper = Keeper.options(num_cpus=1).remote()
show(ray.get(keeper.cpus.remote()))
show(ray.get(cpus.remote()))
show(ray.get(keeper.cpus.remote()))
show(ray.get(Keeper.remote().cpus.remote()))
""",
    )
    assert first == second and len(first) == 1 and not set(first) & set(other)
    assert free == MINE, "it asks for no CPU"


def test_a_waiting_task_keeps_its_cpus(tmp_path):
    before, inner, after = shown(
        tmp_path,
        """
@ray.remote(num_cpus=2)
def outer():
    before = sorted(os.sched_getaffinity(0))
    return before, ray.get(cpus.remote()), sorted(os.sched_getaffinity(0))

ray.init(num_cpus=2)
for value in ray.get(outer.remote()):
    show(value)
""",
    )
    assert before == after and len(before) == 2
    assert inner == MINE, "it runs on CPUs that are lent"


@pytest.mark.parametrize("cpus, setting", [(len(MINE) * 2, "core"), (2, "none")])
def test_nobody_is_bound(tmp_path, cpus, setting):
    """More CPUs for tasks than real ones; or the user does not want it."""
    text = f"\nray.init(num_cpus={cpus})\nshow(ray.get(cpus.remote()))\n"
    assert shown(tmp_path, text, env={**os.environ, "RAY_MPI_BIND": setting}) == [MINE]
