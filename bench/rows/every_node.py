# SPDX-License-Identifier: Apache-2.0
"""Under srun: one result from every node, then, if asked, an idle while; then leave with a given status.

    srun -N4 ray-mpi every_node.py NODES STATUS [IDLE_SECONDS]

Prints wall-clock times as JSON lines; bench/slurm_rows, on the same machine, reads them against its own clock.
"""

import sys
import time

import ray
from measure import emit
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@ray.remote(num_cpus=0)
def where():
    return ray.get_runtime_context().get_node_id()


def main():
    count, status, idle = int(sys.argv[1]), int(sys.argv[2]), float((sys.argv[3:] or ["0"])[0])
    ray.init()
    while len(nodes := [node["NodeID"] for node in ray.nodes() if node["Alive"]]) < count:
        time.sleep(0.01)
    asked = [
        where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)).remote()
        for node in nodes
    ]
    emit(row="every_node", nodes=len(set(ray.get(asked))), at=time.time())
    time.sleep(idle)
    emit(row="driver_end", at=time.time())
    sys.exit(status)


if __name__ == "__main__":
    main()
