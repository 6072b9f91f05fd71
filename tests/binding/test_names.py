# SPDX-License-Identifier: Apache-2.0
"""The names on `ray`: the functions that Ray has, and no others; signatures that programs rely on."""

import inspect
import types

import ray

FUNCTIONS = {
    "available_resources", "cancel", "client", "cluster_resources", "cpp_function", "get", "get_actor", "get_gpu_ids",
    "get_runtime_context", "init", "is_initialized", "java_actor_class", "java_function", "kill", "method", "nodes",
    "put", "remote", "shutdown", "timeline", "wait",
}  # fmt: skip


def test_functions():
    found = {
        name
        for name, value in vars(ray).items()
        if isinstance(value, (types.FunctionType, types.BuiltinFunctionType)) and not name.startswith("_")
    }
    assert found == FUNCTIONS


def test_no_foreign_modules_and_no_stray_text():
    for name, value in vars(ray).items():
        if isinstance(value, types.ModuleType):
            assert value.__name__.split(".")[0] in ("ray", "ray_mpi"), name
        if isinstance(value, str):
            assert name.startswith("__"), name


def test_everything_promised_is_there():
    assert all(hasattr(ray, name) for name in ray.__all__)
    for name in ("TaskID", "ActorID", "JobID", "NodeID", "WorkerID", "UniqueID", "PlacementGroupID", "FunctionID"):
        assert isinstance(getattr(ray, name), type)
    assert ray.ObjectID is ray.ObjectRef


def test_signatures():
    parameters = {
        name: list(inspect.signature(getattr(ray, name)).parameters)
        for name in ("get", "put", "wait", "cancel", "shutdown")
    }
    assert parameters["get"] == ["object_refs", "timeout"]
    assert parameters["put"] == ["value"]
    assert parameters["wait"] == ["ray_waitables", "num_returns", "timeout", "fetch_local"]
    assert parameters["cancel"] == ["ray_waitable", "force", "recursive"]
    words = inspect.signature(ray.init).parameters
    for word in (
        "address", "num_cpus", "num_gpus", "resources", "object_store_memory", "local_mode", "ignore_reinit_error",
        "include_dashboard", "log_to_driver", "namespace", "runtime_env", "logging_level",
    ):  # fmt: skip
        assert word in words


def test_the_paths_that_libraries_use():
    from ray._private.ray_option_utils import actor_options, task_options
    from ray._private.worker import global_worker
    from ray._raylet import RESOURCE_UNIT_SCALING, ObjectRef

    assert RESOURCE_UNIT_SCALING == 10000 and issubclass(ObjectRef, object)
    assert "num_returns" in task_options and "max_restarts" in actor_options
    assert hasattr(global_worker, "mode") and ray.WORKER_MODE == 1 and ray.SCRIPT_MODE == 0


def test_ids():
    for cls, size in (
        (ray.TaskID, 24),
        (ray.JobID, 4),
        (ray.NodeID, 28),
        (ray.ActorID, 16),
        (ray.PlacementGroupID, 18),
    ):
        one = cls.from_random()
        assert cls.size() == size and len(one.binary()) == size
        assert cls.from_hex(one.hex()) == one and hash(cls(one.binary())) == hash(one)
        assert cls.nil().is_nil() and not one.is_nil()
    assert ray.JobID.from_int(7).int() == 7
