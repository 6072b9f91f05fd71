# SPDX-License-Identifier: Apache-2.0
"""Where refs are made, as RAY_record_ref_creation_sites=1 writes it down, and what errors say of it."""

import json

from support import UNDER_RAY, run_program

RECORDED = {"RAY_record_ref_creation_sites": "1"}

PROGRAM = """
    import json

    import ray

    ray.init(num_cpus=2, log_to_driver=False)

    @ray.remote
    def one():
        return 1

    @ray.remote(num_returns=2)
    def pair():
        return 1, 2

    @ray.remote
    class Counter:
        def add(self):
            return 1

    @ray.remote
    def inside():
        return one.remote().call_site()

    def calls():
        return one.remote()

    stored = [ray.put(1) for _ in range(2)]
    sites = {
        "task": calls().call_site(),
        "pair": [ref.call_site() for ref in pair.remote()],
        "method": Counter.remote().add.remote().call_site(),
        "inside": ray.get(inside.remote()),
        "put": [ref.call_site() for ref in stored],
    }
    print(json.dumps(sites))
"""


def sites(tmp_path, env):
    run = run_program(tmp_path, PROGRAM, env=env)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_they_name_the_programs_own_frames(tmp_path):
    found = sites(tmp_path, RECORDED)
    here = f" | {tmp_path}/program.py"
    assert found["task"].startswith(f"(task call) {here}:calls:")
    assert found["task"].count(here) == 2 and "<module>" in found["task"], "the caller's caller, too"
    assert found["pair"][0] == found["pair"][1]
    assert found["method"].startswith(f"(actor call) {here}:<module>:")
    assert f"{here}:inside:" in found["inside"], "in workers, too"
    assert "ray_mpi/" not in json.dumps(found), "no frames of ours"
    if not UNDER_RAY:  # which keeps it to itself
        assert found["put"][0].startswith("(put object) ")


def test_nothing_is_recorded_unless_asked_for(tmp_path):
    found = sites(tmp_path, {})
    assert found == {"task": "", "pair": ["", ""], "method": "", "inside": "", "put": ["", ""]}


DEAD_OWNER = """
    import os, signal
    import ray

    ray.init(num_cpus=2, log_to_driver=False)

    @ray.remote(max_retries=0)
    def make():
        return [ray.put(bytes(200_000)), os.getpid()]

    def lose():
        inner, pid = ray.get(make.remote())
        os.kill(pid, signal.SIGKILL)
        return inner

    try:
        ray.get(lose(), timeout=30)
    except ray.exceptions.OwnerDiedError as error:
        print("SAID", str(error).replace(chr(10), " "))
        print("SITE", error.call_site)
"""


def test_an_error_says_how_to_learn_where_its_ref_was_made(tmp_path):
    run = run_program(tmp_path, DEAD_OWNER)
    assert "RAY_record_ref_creation_sites=1" in run.stdout, run.stderr


LOST_RETURN = """
    import os, signal
    import numpy as np
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1, resources={"there": 1})
    ray.init(address=cluster.address, log_to_driver=False)

    @ray.remote(max_retries=0, resources={"there": 1})
    def make():
        return np.zeros(1_000_000)

    def call():
        return make.remote()

    lost = call()
    ray.wait([lost], timeout=30, fetch_local=False)
    cluster.remove_node(other, allow_graceful=False)
    try:
        ray.get(lost, timeout=30)
    except ray.exceptions.ObjectLostError as error:
        print("SAID", type(error).__name__, str(error).replace(chr(10), " "))
"""


def test_an_error_says_where_its_ref_was_made(tmp_path):
    run = run_program(tmp_path, LOST_RETURN, env=RECORDED)
    said = [line for line in run.stdout.splitlines() if line.startswith("SAID")]
    assert said and "(task call)" in said[0] and "program.py:call:" in said[0], run.stdout + run.stderr
