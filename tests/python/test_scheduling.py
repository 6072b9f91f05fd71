# SPDX-License-Identifier: Apache-2.0
"""Where tasks go on one node: strategies, custom resources, fractions."""

import os
import time

import pytest
import ray
from ray.exceptions import TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")

NO_NODE = "ab" * 28


@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()


@ray.remote
def span(seconds):
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


def most_at_once(spans):
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD", None])
def test_strategies_on_one_node(strategy):
    here = ray.get_runtime_context().get_node_id()
    assert set(get([where.options(scheduling_strategy=strategy).remote() for _ in range(10)])) == {here}


@pytest.mark.parametrize("soft", [True, False])
def test_affinity_to_this_node(soft):
    here = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(node_id=here, soft=soft)
    assert get(where.options(scheduling_strategy=strategy).remote()) == here


def test_hard_affinity_to_a_missing_node_fails():
    strategy = NodeAffinitySchedulingStrategy(node_id=NO_NODE, soft=False)
    with pytest.raises(TaskUnschedulableError):
        get(where.options(scheduling_strategy=strategy).remote())


def test_soft_affinity_to_a_missing_node_goes_elsewhere():
    strategy = NodeAffinitySchedulingStrategy(node_id=NO_NODE, soft=True)
    assert get(where.options(scheduling_strategy=strategy).remote()) == ray.get_runtime_context().get_node_id()


def test_two_cpus_run_two_tasks():
    get([span.remote(0) for _ in range(4)])
    assert most_at_once(get([span.remote(0.3) for _ in range(6)])) == 2


def test_a_task_of_two_cpus_runs_alone():
    wide, narrow = span.options(num_cpus=2), span
    assert most_at_once(get([wide.remote(0.1) for _ in range(4)])) == 1
    spans = get([wide.remote(0.1), narrow.remote(0.1), wide.remote(0.1)])
    assert most_at_once(spans) == 1


def test_custom_resources_limit():
    pair = span.options(num_cpus=0, resources={"slot": 2})
    assert most_at_once(get([pair.remote(0.2) for _ in range(6)])) <= 2


def test_fractions_allow_more():
    get([span.options(num_cpus=0.5).remote(0) for _ in range(4)])
    assert most_at_once(get([span.options(num_cpus=0.5).remote(0.5) for _ in range(8)])) in (3, 4)


def test_an_unknown_resource_waits():
    ref = where.options(resources={"unobtainium": 1}).remote()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])
    ray.cancel(ref)


def test_memory_is_accounted_for():
    total = ray.cluster_resources()["memory"]
    assert get(where.options(memory=total / 2).remote())
    ref = where.options(memory=total * 2).remote()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])
    ray.cancel(ref)


def test_a_wide_task_is_not_starved_by_narrow_ones(tmp_path):
    """Many short tasks queue; the one that needs both CPUs gets its turn before they all are done, or right after."""
    narrow = [span.remote(0.01) for _ in range(100)]
    wide = span.options(num_cpus=2).remote(0)
    assert get(wide)
    get(narrow)


def test_cpus_come_back_after_a_crash():
    @ray.remote(num_cpus=2, max_retries=0)
    def crash():
        os._exit(1)

    for _ in range(2):
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            get(crash.remote())
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
