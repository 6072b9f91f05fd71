# SPDX-License-Identifier: Apache-2.0
"""Placement groups on four nodes of a real Slurm: which node each bundle's task runs on."""

import pytest
from conftest import RAY_MPI, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")

PROGRAM = """
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def host():
        return os.uname().nodename

    for strategy, count in (("STRICT_SPREAD", 4), ("SPREAD", 4), ("STRICT_PACK", 2), ("PACK", 2)):
        group = placement_group([{"slot": 1}] * count, strategy=strategy)
        assert group.wait(30)
        hosts = ray.get([host.options(scheduling_strategy=InGroup(group, i)).remote() for i in range(count)], timeout=30)
        print(strategy, len(set(hosts)))
        remove_placement_group(group)
        while ray.available_resources().get("slot") != 8:
            time.sleep(0.02)
    print(placement_group([{"slot": 1}] * 5, strategy="STRICT_SPREAD").wait(0.5))
"""


def test_every_strategy(lab, app):
    done = srun(lab, "--resources", '{"slot": 2}', app(PROGRAM))
    wanted = "STRICT_SPREAD 4\nSPREAD 4\nSTRICT_PACK 1\nPACK 1\nFalse\n"
    assert (done.returncode, done.stdout) == (0, wanted), done.stderr
