# SPDX-License-Identifier: Apache-2.0
"""ray.cluster_utils.Cluster: nodes that come, go and die, and what runs on them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import ray
from ray.cluster_utils import AutoscalingCluster, Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from support import eventually, get

MANY = 20


@pytest.fixture
def cluster():
    ray.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def connected(cluster):
    ray.init(address=cluster.address, log_to_driver=False)
    return cluster


def on(node, soft=False):
    return NodeAffinitySchedulingStrategy(node.node_id, soft=soft)


@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()


@ray.remote
def numbers(size):
    return np.arange(size)


@ray.remote
def total(values):
    return int(values.sum())


def alive():
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def test_nodes_come_with_what_they_were_given(connected):
    assert len(connected.list_all_nodes()) == 1 and connected.head_node.is_head()
    node = connected.add_node(num_cpus=3, num_gpus=2, resources={"ssd": 5}, labels={"rack": "b"}, memory=10**9)
    assert node in connected.worker_nodes and alive() == {connected.head_node.node_id, node.node_id}
    found = next(n for n in ray.nodes() if n["NodeID"] == node.node_id)
    assert {name: found["Resources"][name] for name in ("CPU", "GPU", "ssd", "memory")} == {
        "CPU": 3,
        "GPU": 2,
        "ssd": 5,
        "memory": 10**9,
    }
    assert found["Resources"]["object_store_memory"] == 150 * 1024 * 1024
    assert found["Labels"]["rack"] == "b"
    assert ray.cluster_resources()["CPU"] == 4
    assert get(where.options(resources={"ssd": 1}).remote()) == node.node_id


def test_one_cpu_and_no_gpu_are_the_default(connected):
    node = connected.add_node()
    found = next(n for n in ray.nodes() if n["NodeID"] == node.node_id)
    assert found["Resources"]["CPU"] == 1 and "GPU" not in found["Resources"]


def test_infeasible_work_starts_when_a_fitting_node_joins(connected):
    task = where.options(resources={"lens": 1}).remote()
    assert ray.wait([task], timeout=0.3)[0] == []
    connected.add_node(resources={"prism": 1})
    assert ray.wait([task], timeout=0.3)[0] == []
    node = connected.add_node(resources={"lens": 1})
    assert get(task) == node.node_id


def test_a_wide_burst_uses_a_node_that_came_later(connected):
    @ray.remote
    def slow():
        time.sleep(0.2)
        return ray.get_runtime_context().get_node_id()

    refs = [slow.remote() for _ in range(16)]
    node = connected.add_node(num_cpus=4)
    assert set(get(refs)) == {connected.head_node.node_id, node.node_id}


def test_objects_travel_between_nodes_that_joined(connected):
    first, second = connected.add_node(), connected.add_node()
    size = 2_000_000
    there = numbers.options(scheduling_strategy=on(first)).remote(size)
    expected = size * (size - 1) // 2
    assert get(total.options(scheduling_strategy=on(second)).remote(there)) == expected
    assert get(total.options(scheduling_strategy=on(connected.head_node)).remote(there)) == expected
    here = ray.put(np.ones(size))
    assert get(total.options(scheduling_strategy=on(second)).remote(here)) == size
    assert get(there)[-1] == size - 1


def test_actors_and_tasks_call_across_joined_nodes(connected):
    first, second = connected.add_node(), connected.add_node()

    @ray.remote
    class Tally:
        def __init__(self):
            self.count = 0

        def add(self, amount):
            self.count += amount
            return self.count, ray.get_runtime_context().get_node_id()

    @ray.remote
    def use(tally):
        return [ray.get(tally.add.remote(1))[0] for _ in range(20)], ray.get_runtime_context().get_node_id()

    tally = Tally.options(scheduling_strategy=on(first)).remote()
    counts, node = get(use.options(scheduling_strategy=on(second)).remote(tally))
    assert counts == list(range(1, 21)) and node == second.node_id
    assert get(tally.add.remote(1)) == (21, first.node_id)


def test_a_killed_node_is_dead_and_its_work_is_done_elsewhere(connected):
    node = connected.add_node(resources={"pen": 1})
    big = numbers.options(scheduling_strategy=on(node, soft=True)).remote(500_000)
    assert ray.wait([big], fetch_local=False, timeout=30)[0] == [big]

    @ray.remote(resources={"pen": 1}, max_restarts=1, max_task_retries=-1)
    class Writer:
        def where(self):
            return ray.get_runtime_context().get_node_id()

    writer = Writer.remote()
    assert get(writer.where.remote()) == node.node_id
    other = connected.add_node(resources={"pen": 1})
    killed = node.node_id
    node.kill_raylet()
    assert eventually(lambda: killed not in alive(), timeout=10)
    assert get(writer.where.remote()) == other.node_id
    assert get(big)[-1] == 499_999  # made again
    dead = next(n for n in ray.nodes() if n["NodeID"] == killed)
    assert not dead["Alive"] and "connection closed" in dead["DeathReasonMessage"]
    with pytest.raises(ray.exceptions.TaskUnschedulableError):
        get(where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(killed, soft=False)).remote())


def test_wait_for_nodes_misses_one_that_died(connected):
    node = connected.add_node()
    connected.wait_for_nodes()
    node.kill_raylet()
    assert eventually(lambda: len(alive()) == 1, timeout=10)
    with pytest.raises(TimeoutError):
        connected.wait_for_nodes(timeout=0.2)
    assert eventually(lambda: not node.any_processes_alive(), timeout=10)
    connected.remove_node(node, allow_graceful=False)
    connected.wait_for_nodes(timeout=10)


@pytest.mark.parametrize("graceful", [True, False])
def test_remove_and_rejoin(connected, graceful):
    node = connected.add_node(resources={"drill": 1})
    first = node.node_id
    assert get(where.options(resources={"drill": 1}).remote()) == first
    connected.remove_node(node, allow_graceful=graceful)
    assert connected.worker_nodes == set() and not node.any_processes_alive()
    connected.wait_for_nodes(timeout=10)
    waiting = where.options(resources={"drill": 1}).remote()
    assert ray.wait([waiting], timeout=0.2)[0] == []
    again = connected.add_node(resources={"drill": 1})
    assert again.node_id != first and get(waiting) == again.node_id
    assert [n["Alive"] for n in ray.nodes()] == [True, False, True]


def test_what_ran_on_a_node_that_leaves_starts_elsewhere(connected):
    node = connected.add_node(num_cpus=2, resources={"desk": 2})
    first = node.node_id

    @ray.remote(resources={"desk": 1}, max_retries=1)
    def long_there():
        here = ray.get_runtime_context().get_node_id()
        if here == first:
            time.sleep(1000)
        return here

    @ray.remote(resources={"desk": 1}, max_restarts=1, max_task_retries=-1)
    class Clerk:
        def where(self):
            return ray.get_runtime_context().get_node_id()

    task, clerk = long_there.remote(), Clerk.remote()
    assert get(clerk.where.remote()) == first
    assert ray.wait([task], timeout=0.2)[0] == []
    other = connected.add_node(num_cpus=2, resources={"desk": 2})
    connected.remove_node(node)
    assert get(task) == other.node_id
    assert get(clerk.where.remote()) == other.node_id


def test_a_drained_node_ends_its_tasks_and_hands_its_objects_on(connected):
    """Nothing here could be made again: it has neither retries nor lineage."""
    node = connected.add_node(num_cpus=2, resources={"well": 1})
    other = connected.add_node()

    @ray.remote(max_retries=0, num_cpus=1)
    def slowly(values):
        time.sleep(1.5)
        return values + 1

    there = on(node)
    big = [numbers.options(scheduling_strategy=there, max_retries=0).remote(300_000 + i) for i in range(20)]
    assert ray.wait(big, num_returns=20, fetch_local=False, timeout=30)[1] == []
    running = slowly.options(scheduling_strategy=there).remote(np.zeros(200_000))
    assert ray.wait([running], timeout=0.3)[0] == []
    begin = time.monotonic()
    connected.remove_node(node)
    assert 1.0 < time.monotonic() - begin < 5
    dead = next(n for n in ray.nodes() if not n["Alive"])
    assert "it was drained (asked to end by a signal) and has left" in dead["DeathReasonMessage"]
    assert [len(values) for values in get(big)] == [300_000 + i for i in range(20)]
    assert get(running).sum() == 200_000
    assert get(where.options(scheduling_strategy=on(other)).remote()) == other.node_id


def test_actors_of_drained_nodes_restart_for_free(connected):
    nodes = [connected.add_node(resources={"seat": 2})]

    @ray.remote(num_cpus=0, resources={"seat": 1})
    class Rider:
        def __init__(self):
            self.calls = 0

        def ride(self, seconds=0):
            time.sleep(seconds)
            self.calls += 1
            return self.calls, ray.get_runtime_context().get_node_id()

    rider = Rider.options(max_restarts=1).remote()
    walker = Rider.remote()
    assert get([rider.ride.remote(), walker.ride.remote()]) == [(1, nodes[0].node_id)] * 2
    for _ in range(3):  # more often than it could be restarted
        nodes.append(connected.add_node(resources={"seat": 2}))
        call = rider.ride.remote(0.5)  # is not interrupted, and not repeated: it could not be
        time.sleep(0.1)
        connected.remove_node(nodes[-2])
        assert get(call) == (2, nodes[-2].node_id)
        assert get(rider.ride.remote()) == (1, nodes[-1].node_id)
    with pytest.raises(ray.exceptions.ActorDiedError, match="is drained"):
        get(walker.ride.remote())


def test_work_that_outlasts_the_drain_is_tried_again_for_free(connected):
    node = connected.add_node(resources={"forge": 2})

    @ray.remote(resources={"forge": 1}, num_cpus=0)
    def forge(slow_on):
        here = ray.get_runtime_context().get_node_id()
        if here == slow_on:
            time.sleep(1000)
        return here

    again = forge.options(max_retries=1).remote(node.node_id)
    lost = forge.options(max_retries=0).remote(node.node_id)
    assert ray.wait([again, lost], timeout=1)[0] == []
    connected.remove_node(node)
    other = connected.add_node(resources={"forge": 2})
    assert get(again) == other.node_id
    with pytest.raises(ray.exceptions.WorkerCrashedError, match="is drained"):
        get(lost)


def test_the_drivers_own_node_is_not_removed(connected):
    with pytest.raises(ValueError, match="break the driver"):
        connected.remove_node(connected.head_node)
    assert not ray.is_initialized()


def test_init_without_an_address_means_this_programs_cluster(cluster):
    ray.init(log_to_driver=False)
    assert alive() == {cluster.head_node.node_id}
    ray.shutdown()
    ray.init(address="auto", log_to_driver=False)
    assert alive() == {cluster.head_node.node_id}


def test_a_driver_can_come_in_through_any_node(cluster):
    node = cluster.add_node(num_cpus=2)
    ray.init(address=node.session, log_to_driver=False)
    assert ray.get_runtime_context().get_node_id() == node.node_id
    assert {get(where.options(scheduling_strategy=on(n)).remote()) for n in cluster.list_all_nodes()} == alive()


def test_several_nodes_at_once(connected):
    """Started side by side; small each; all of them work, and talk to one another."""
    begin = time.monotonic()
    nodes = [connected.add_node(wait=False) for _ in range(MANY)]
    connected.wait_for_nodes(timeout=60)
    took = time.monotonic() - begin
    ids = [node.node_id for node in nodes]
    assert len(set(ids)) == MANY and alive() == {*ids, connected.head_node.node_id}
    objects = [numbers.options(scheduling_strategy=on(node)).remote(100_000) for node in nodes]
    sums = [total.options(scheduling_strategy=on(nodes[i - 1])).remote(objects[i]) for i in range(MANY)]
    assert get(sums) == [100_000 * 99_999 // 2] * MANY
    resident = [sum(_pss_kib(pid) for pid in _processes_of(node)) / 1024 for node in nodes]
    print(f"{MANY} nodes in {took:.2f} s; {min(resident):.0f} to {max(resident):.0f} MiB each")
    assert max(resident) < 80  # a worker has run NumPy on each


def _processes_of(node):
    """Those that have its run directory in their environment, or its keeper above them."""
    mark = f"RAY_MPI_SESSION={node.session}".encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in entry.joinpath("environ").read_bytes():
                yield entry.name
        except OSError:
            continue


def _pss_kib(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


PROGRAM = """
import os, signal, sys, time
import ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, connect=True)
cluster.add_node(num_cpus=2)
ray.get(ray.remote(lambda: 1).options(num_cpus=2).remote())
print("up", flush=True)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[1] == "shutdown":
    cluster.shutdown()
"""


@pytest.mark.parametrize("end", ["kill", "shutdown", "leave"])
def test_nothing_is_left_behind(tmp_path, end):
    runs = tmp_path / "runs"
    runs.mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "RAY_MPI_DIR": str(runs)}
    done = subprocess.run(
        [sys.executable, program, end], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "up" in done.stdout and done.returncode == (-signal.SIGKILL if end == "kill" else 0), done.stderr

    def left():
        found = [str(path) for path in runs.iterdir()]
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(runs).encode() in entry.joinpath("environ").read_bytes():
                    found.append(entry.joinpath("cmdline").read_text())
            except OSError:
                continue
        return found

    assert eventually(lambda: not left(), timeout=15), left()


def test_what_is_not_there_says_so(cluster):
    with pytest.raises(NotImplementedError, match="--join"):
        AutoscalingCluster({"CPU": 1}, {})
    with pytest.raises(NotImplementedError, match="--serve"):
        Cluster(shutdown_at_exit=False)
    with pytest.raises(RuntimeError, match="uninitialized"):
        Cluster(connect=True)
    with pytest.raises(TypeError, match="num_cpu"):
        cluster.add_node(num_cpu=1)
