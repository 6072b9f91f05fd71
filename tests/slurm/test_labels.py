# SPDX-License-Identifier: Apache-2.0
"""What Slurm knows of nodes becomes labels: features, switches, partition."""

import pytest

from conftest import RAY_MPI, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")


def test_labels_of_slurm(lab, app):
    file = app(
        """
    for node in sorted(ray.nodes(), key=lambda n: n["NodeManagerHostname"]):
        labels = node["Labels"]
        features = sorted(k.split("/")[1] for k, v in labels.items() if k.startswith("slurm.feature/") and v == "true")
        print(labels["ray-mpi/host"], labels["ray-mpi/partition"], labels["ray-mpi/switch"], *features)
"""
    )
    done = srun(lab, file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "n0 debug core.left lab left",
        "n1 debug core.left lab left",
        "n2 debug core.right lab right",
        "n3 debug core.right lab right",
    ]


def test_tasks_choose_by_feature_and_stay_below_one_switch(lab, app):
    file = app(
        """
    @ray.remote(num_cpus=1)
    def where(seconds=0):
        time.sleep(seconds)
        return os.uname().nodename

    right = where.options(label_selector={"slurm.feature/right": "true"})
    print(*sorted(set(ray.get([right.remote() for _ in range(20)]))))
    ray.get([where.options(scheduling_strategy="SPREAD").remote(0.5) for _ in range(16)])
    time.sleep(1)
    print(*sorted(ray.get([where.remote(1.5) for _ in range(4)])))
"""
    )
    done = srun(lab, "--num-cpus", "4", file)
    assert done.returncode == 0, done.stderr
    right, near = done.stdout.splitlines()
    assert set(right.split()) <= {"n2", "n3"}
    assert near == "n0 n0 n1 n1", "half of each node of the driver's switch"
