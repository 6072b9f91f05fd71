# SPDX-License-Identifier: Apache-2.0
"""Under srun: one result from every node, a burst of SPREAD tasks, then, if asked, an idle while; then leave with a
given status.

    srun -N4 ray-mpi every_node.py NODES STATUS [IDLE_SECONDS]

Prints wall-clock times as JSON lines; bench/slurm_rows, on the same machine, reads them against its own clock.
"""

import sys
import time

import ray
from measure import emit
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

TASKS = 400
TASK_S = 0.02


@ray.remote(num_cpus=0)
def where():
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def sleep_of_20_ms():
    time.sleep(TASK_S)


def makespan():
    """How long TASKS of them take over the time of that many on all CPUs without a gap."""
    ideal = TASKS * TASK_S / ray.cluster_resources()["CPU"]
    start = time.perf_counter()
    ray.get([sleep_of_20_ms.remote() for _ in range(TASKS)])
    return (time.perf_counter() - start) / ideal


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
    makespan()  # the workers' start
    emit(row="spread", makespan=makespan())
    time.sleep(idle)
    emit(row="driver_end", at=time.time())
    sys.exit(status)


if __name__ == "__main__":
    main()
