# SPDX-License-Identifier: Apache-2.0
"""Nodes of one Slurm job join the run of another; when that job is cancelled, they are drained."""

import ast

import pytest

from conftest import RAY_MPI

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

PROGRAM = """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    def nodes(count):
        while len(alive := [n for n in ray.nodes() if n["Alive"]]) != count:
            time.sleep(0.05)
        return alive

    @ray.remote
    def make(i):
        with open("made", "a") as made:
            print(i, file=made)
        return bytes([i]) * 1_000_000

    @ray.remote
    def look(arrays):
        return [a[0] for a in ray.get(arrays)], os.uname().nodename

    print("alone", len(nodes(1)), flush=True)
    there = [On(n["NodeID"], soft=True) for n in nodes(3)]
    made = [make.options(scheduling_strategy=s).remote(i) for i, s in enumerate(there)]
    only_there = [make.options(scheduling_strategy=s).remote(10 + i) for i, s in enumerate(there)]
    ray.wait(only_there, num_returns=3, fetch_local=False)
    print([ray.get(look.options(scheduling_strategy=s).remote(made)) for s in there], flush=True)
    nodes(1)
    print([a[0] for a in ray.get(only_there)], flush=True)
    sys.exit(5)
"""


def test_nodes_of_another_job(lab, app):
    invitation = lab.shared / "run.join"
    first = lab.start("srun", "-N1", "-w", "n0", RAY_MPI, "--listen", invitation, app(PROGRAM))
    assert first.stdout.readline() == "alone 1\n", first.communicate(timeout=30)
    assert invitation.stat().st_mode & 0o777 == 0o600
    second = lab.start("srun", "-J", "joins", "-N2", "-w", "n1,n2", RAY_MPI, "--join", invitation)
    seen = ast.literal_eval(first.stdout.readline())
    assert sorted(host for _, host in seen) == ["n0", "n1", "n2"]
    assert [values for values, _ in seen] == [[0, 1, 2]] * 3
    lab.run("scancel", "--name=joins").check_returncode()
    assert first.stdout.readline() == "[10, 11, 12]\n"
    made = (lab.shared / "made").read_text().split()
    assert sorted(map(int, made)) == [0, 1, 2, 10, 11, 12], "what was only there has moved, nothing was made again"
    _, text = first.communicate(timeout=30)
    assert first.returncode == 5, text
    second.communicate(timeout=60)
    assert not invitation.exists()
