# SPDX-License-Identifier: Apache-2.0
"""What a program can ask about itself and the cluster."""

import os
import string

import pytest
import ray
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


def is_hex(text, digits=None):
    return isinstance(text, str) and set(text) <= set(string.hexdigits.lower()) and (not digits or len(text) == digits)


@ray.remote
def look():
    context = ray.get_runtime_context()
    return {
        "job": context.get_job_id(),
        "node": context.get_node_id(),
        "worker": context.get_worker_id(),
        "task": context.get_task_id(),
        "actor": context.get_actor_id(),
        "name": context.get_task_name(),
        "function": context.get_task_function_name(),
        "resources": context.get_assigned_resources(),
        "group": context.get_placement_group_id(),
        "namespace": context.namespace,
        "pid": os.getpid(),
    }


def test_in_the_driver():
    context = ray.get_runtime_context()
    assert is_hex(context.get_job_id(), 8)
    assert is_hex(context.get_node_id(), 56)
    assert is_hex(context.get_worker_id(), 56)
    assert context.get_task_id() is None
    assert context.get_actor_id() is None
    assert isinstance(context.namespace, str) and context.namespace


def test_in_a_task():
    driver, seen = ray.get_runtime_context(), get(look.remote())
    assert seen["job"] == driver.get_job_id()
    assert seen["node"] == driver.get_node_id()
    assert seen["namespace"] == driver.namespace
    assert is_hex(seen["worker"], 56) and seen["worker"] != driver.get_worker_id()
    assert is_hex(seen["task"], 48)
    assert seen["actor"] is None and seen["group"] is None
    assert seen["pid"] != os.getpid()


def test_names():
    assert get(look.remote())["name"] == "look"
    assert get(look.options(name="a fine name").remote())["name"] == "a fine name"
    assert get(look.remote())["function"].endswith("look")


def test_assigned_resources():
    assert get(look.remote())["resources"] == {"CPU": 1.0}
    assert get(look.options(num_cpus=2).remote())["resources"] == {"CPU": 2.0}
    assert get(look.options(num_cpus=0.5, resources={"slot": 2}).remote())["resources"] == {"CPU": 0.5, "slot": 2.0}
    assert get(look.options(num_cpus=0).remote())["resources"] == {}


def test_task_ids_differ_and_match_their_refs():
    ref = look.remote()
    seen = get(ref)
    assert seen["task"] == ref.task_id().hex()
    assert get(look.remote())["task"] != seen["task"]
    assert ref.job_id().hex() == seen["job"]


def test_cluster_resources():
    total = ray.cluster_resources()
    assert total["CPU"] == 2 and total["slot"] == 4
    assert total["memory"] > 0 and total["object_store_memory"] > 0
    assert any(name.startswith("node:") for name in total)
    assert all(isinstance(value, float) for value in total.values())


def test_available_resources_shrink_and_come_back(tmp_path):
    @ray.remote(num_cpus=1, resources={"slot": 3})
    def hold(path):
        import time

        while not os.path.exists(path):
            time.sleep(0.02)

    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
    path = tmp_path / "go"
    ref = hold.remote(str(path))
    assert eventually(lambda: ray.available_resources().get("CPU") == 1)
    assert eventually(lambda: ray.available_resources().get("slot") == 1)
    path.touch()
    get(ref)
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
    assert eventually(lambda: ray.available_resources().get("slot") == 4)


def test_nodes():
    (node,) = ray.nodes()
    assert node["Alive"] is True and node["alive"] is True
    assert node["NodeID"] == ray.get_runtime_context().get_node_id()
    assert node["Resources"]["CPU"] == 2
    for key in ("NodeManagerAddress", "NodeManagerHostname", "Labels", "NodeName", "ObjectStoreSocketName"):
        assert key in node


def test_is_initialized():
    assert ray.is_initialized()


def test_gpu_ids_without_gpus():
    assert ray.get_gpu_ids() == []


def test_accelerator_ids_in_a_task():
    @ray.remote
    def ids():
        return ray.get_runtime_context().get_accelerator_ids()

    assert all(not found for found in get(ids.remote()).values())


def test_thread_count_of_numeric_libraries():
    @ray.remote
    def threads():
        return os.environ.get("OMP_NUM_THREADS")

    if "OMP_NUM_THREADS" in os.environ:
        assert get(threads.remote()) == os.environ["OMP_NUM_THREADS"]
    else:
        assert get(threads.remote()) == "1"
        assert get(threads.options(num_cpus=2).remote()) == "2"


def test_a_worker_runs_in_the_folder_of_the_driver():
    @ray.remote
    def folder():
        return os.getcwd()

    assert get(folder.remote()) == os.getcwd()


def test_the_version_is_text():
    assert isinstance(ray.__version__, str) and ray.__version__[0].isdigit()
