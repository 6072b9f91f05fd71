# SPDX-License-Identifier: Apache-2.0
"""What a program can ask about itself: ray.get_runtime_context()."""

import os
import warnings

from ray_mpi import _core, _worker
from ray_mpi._ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID
from ray_mpi._options import UNIT_RESOURCES
from ray_mpi._worker import WORKER_MODE, current_call, global_worker


class RuntimeContext:
    """The runtime as seen from this driver or task. All ids are hexadecimal strings."""

    def __init__(self, worker):
        self.worker = worker

    def get(self):
        """Deprecated: use the get_* methods."""
        warnings.warn("RuntimeContext.get() is deprecated, use the get_* methods", DeprecationWarning, stacklevel=2)
        return {"job_id": self.get_job_id(), "node_id": self.get_node_id(), "namespace": self.namespace}

    def get_job_id(self):
        return _core.job_id()

    def get_node_id(self):
        return _core.node_hex()

    def get_worker_id(self):
        """Of this process: the run, and its address in it."""
        node, slot, generation = _core.address()
        run = _core.run_id().to_bytes(8, "little")
        body = run + node.to_bytes(4, "little") + slot.to_bytes(4, "little") + generation.to_bytes(4, "little")
        return (body + bytes(28 - len(body))).hex()

    def get_task_id(self):
        """The running task's; None in the driver."""
        call = current_call.get()  # of an async actor
        if call is not None:
            return call.hex()
        return _core.current_task().hex() if global_worker.mode == WORKER_MODE else None

    def get_task_name(self):
        return _core.current_task_name() if global_worker.mode == WORKER_MODE else None

    def get_task_function_name(self):
        return _core.current_function_name() if global_worker.mode == WORKER_MODE else None

    def get_actor_id(self):
        """This worker's actor's; None elsewhere."""
        found = _current_actor()
        return None if found is None else _core.actor_id_of(found[0]).hex()

    def get_actor_name(self):
        """This worker's actor's, "" if it has none; None elsewhere."""
        return None if _current_actor() is None else global_worker.actor_name or ""

    def get_placement_group_id(self):
        """In hex, of the group that this task or actor runs in, or None."""
        number, _ = _core.current_group()
        return _core.group_id(number) if number else None

    def get_assigned_resources(self):
        """{resource: amount} of the running task, or of the actor that it is a call of."""
        if global_worker.mode != WORKER_MODE:
            raise AssertionError(
                f"This method is only available when the process is a worker. Current mode: {global_worker.mode}"
            )
        return _core.current_resources() if global_worker.actor_resources is None else global_worker.actor_resources

    def get_resource_ids(self):
        """Deprecated: use get_accelerator_ids()."""
        return self.get_accelerator_ids()

    def get_accelerator_ids(self):
        """{kind of accelerator: [ids]} that the running task may use."""
        return {resource: [str(one) for one in device_ids(resource)] for resource in UNIT_RESOURCES}

    def get_node_labels(self):
        mine = _core.node()
        return next((node["labels"] for node in _core.nodes() if node["node"] == mine), {})

    def get_runtime_env_string(self):
        return "{}"

    def get_session_name(self):
        return os.path.basename(_core.session())

    def get_temp_dir(self):
        return _core.session()

    def get_dashboard_url(self):
        return ""

    def is_canceled(self):
        """Whether the running task has been cancelled: for methods of actors, which are not interrupted, and for tasks
        that catch KeyboardInterrupt. RuntimeError in a driver."""
        if global_worker.mode != WORKER_MODE:
            raise RuntimeError(
                f"This method is only available when the process is a worker. Current mode: {global_worker.mode}"
            )
        return _core.cancel_requested()

    @property
    def namespace(self):
        return global_worker.namespace

    @property
    def gcs_address(self):
        return _core.session()

    @property
    def runtime_env(self):
        return {}

    @property
    def job_id(self):
        return JobID.from_hex(_deprecated("job_id", self.get_job_id()))

    @property
    def node_id(self):
        return NodeID.from_hex(_deprecated("node_id", self.get_node_id()))

    @property
    def task_id(self):
        text = _deprecated("task_id", self.get_task_id())
        return TaskID.from_hex(text) if text else None

    @property
    def actor_id(self):
        text = _deprecated("actor_id", self.get_actor_id())
        return ActorID.from_hex(text) if text else None

    @property
    def current_actor(self):
        """A handle on the actor that this runs in."""
        from ray_mpi.actor import _rebuild_handle

        found = _current_actor()
        if found is None:
            raise RuntimeError("This method is only available in an actor.")
        options = {"max_task_retries": 0, "max_pending_calls": -1, "ordered": True}
        return _rebuild_handle(found[0], global_worker.actor_class_id, options)

    @property
    def current_placement_group_id(self):
        text = self.get_placement_group_id()
        return PlacementGroupID.from_hex(text) if text else PlacementGroupID.nil()

    @property
    def should_capture_child_tasks_in_placement_group(self):
        """Whether what this task submits is meant for its own placement group."""
        return _core.current_group()[1]

    @property
    def was_current_actor_reconstructed(self):
        """Whether this is a later life of the actor, after a restart."""
        found = _current_actor()
        if found is None:
            raise RuntimeError("This property should only be called inside an actor.")
        return found[1] > 0


def _current_actor():
    return _core.current_actor() if global_worker.mode == WORKER_MODE else None


def _deprecated(name, value):
    warnings.warn(f"RuntimeContext.{name} is deprecated, use get_{name}()", DeprecationWarning, stacklevel=3)
    return value


def get_runtime_context():
    """The RuntimeContext of this process; starts the runtime if need be."""
    _worker.auto_init()
    return RuntimeContext(global_worker)


def device_ids(resource):
    """The ids of the devices that the running task holds: numbers, or the strings of the mask that its node has."""
    if global_worker.mode != WORKER_MODE:
        return []
    for name, masked, ids in _core.current_devices():
        if name == resource:
            return ids if masked else [int(one) for one in ids]
    return []
