# SPDX-License-Identifier: Apache-2.0
"""Objects of a dead node that were on its disk: from a file system of all nodes they come back, from the node's own they
do not. Nothing else could make them again."""

import pytest
from conftest import RAY_MPI

MADE_AND_LOST = """
    import json, random
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    def pattern(n):
        return random.Random(n).randbytes(4 << 20)

    @ray.remote(num_cpus=0)
    class Maker:
        def make(self, n):
            return pattern(n)

    @ray.remote(num_cpus=0, max_retries=0)
    def end_node():
        subprocess.run(["pkill", "-KILL", "-P", str(os.getppid()), "-x", "ray-mpi-raylet"])
        time.sleep(60)

    @ray.remote(num_cpus=0)
    def check(data, n):
        return data == pattern(n)

    def spilled():  # of the dead node-to-be, by its own word
        nodes = json.loads(subprocess.run([sys.argv[1], "status", "--json"], capture_output=True, text=True).stdout)["nodes"]
        return next(n["object_store"]["spilled_bytes"] for n in nodes if n["node_id"] == there)

    me = ray.get_runtime_context().get_node_id()
    there, reader = [n["NodeID"] for n in ray.nodes() if n["NodeID"] != me][:2]
    maker = Maker.options(scheduling_strategy=On(there, soft=True)).remote()
    refs = [maker.make.remote(n) for n in range(30)]
    ray.wait(refs, num_returns=30, fetch_local=False)
    while spilled() < 30 * (4 << 20): time.sleep(0.05)
    ray.wait([end_node.options(scheduling_strategy=On(there, soft=True)).remote()], timeout=30)
    found = []
    for n, ref in enumerate(refs):
        try:
            found.append(ray.get(ref, timeout=30) == pattern(n))
        except ray.exceptions.ObjectReconstructionFailedError as e:
            found.append("is dead" in str(e) and "error")
    print(len(found), *map(str, set(found)))
    if found[0] is True:
        print(all(ray.get([check.options(scheduling_strategy=On(reader, soft=True)).remote(r, n) for n, r in enumerate(refs)])))
"""


@pytest.mark.parametrize("where", ["shared", "local"])
def test_what_a_dead_node_had_on_disk(lab, app, where):
    file = app(MADE_AND_LOST)
    folder = lab.shared / f"{file.stem}.spill" if where == "shared" else "/tmp/spill"
    done = lab.run("srun", "-N4", "--no-kill", "-K0", RAY_MPI, "--object-store-memory", "32M", "--object-spilling-directory", folder,
                   "--system-config", '{"object_spilling_threshold": 0}', file, RAY_MPI)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == (["30", "True", "True"] if where == "shared" else ["30", "error"])
    for node in lab.nodes:
        assert lab.on(node, "ls", folder).stdout == ""
