# SPDX-License-Identifier: Apache-2.0
"""A runtime that serves several programs of one job."""

import textwrap

import pytest

from conftest import RAY_MPI, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

FIRST = """
    import os
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote
    class Counter:
        def __init__(self):
            self.count = 0

        def add(self, amount):
            self.count += amount
            return self.count, os.uname().nodename

    ray.init("auto", namespace="lab")
    away = next(n["NodeID"] for n in ray.nodes() if n["NodeManagerHostname"] == "n1")
    on = NodeAffinitySchedulingStrategy(away, soft=False)
    counter = Counter.options(name="till", lifetime="detached", scheduling_strategy=on).remote()
    print("first", os.uname().nodename, len(ray.nodes()), *ray.get(counter.add.remote(1)))
"""
SECOND = """
    import os
    import ray
    ray.init("auto", namespace="lab")
    print("second", os.uname().nodename, *ray.get(ray.get_actor("till").add.remote(41)))
"""


def test_two_programs_of_a_batch_job(lab, app):
    """The first leaves a detached actor on another node; the second, on a third one, finds it. No sleep anywhere."""
    python = srun(lab, app("print(sys.executable)"), options=("-N1",)).stdout.strip()
    for name, text in ("first.py", FIRST), ("second.py", SECOND):
        (lab.shared / name).write_text(textwrap.dedent(text))
    status, _, out = lab.batch(
        f"""#!/bin/sh
export PYTHONPATH=$({RAY_MPI} --ray-path):$({RAY_MPI} --ray-path)/../..
srun {RAY_MPI} --serve 2>/dev/null &
{python} first.py
srun --overlap -N1 -n1 -w n2 {python} second.py
{RAY_MPI} stop
wait $!
echo status $?
""",
        "-w", "n0,n1,n2",
    )
    lines = out.splitlines()
    assert status == 0 and lines[:2] == ["first n0 3 1 n1", "second n2 42 n1"], out
    assert lines[2].startswith("ended ") and lines[3:] == ["status 0"], out
