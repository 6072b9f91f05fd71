# SPDX-License-Identifier: Apache-2.0
"""Cluster: several logical nodes on this machine, which come and go as a test asks.

The head is a runtime as `ray.init()` starts it, each further node is a `ray-mpi --join` of it. All end when this process
does, however it ends.
"""

import atexit
import os
import signal
import time
import warnings

from ray_mpi import _core, _session, _worker

cluster_not_supported = False

_DRAIN_S = 5  # for tasks that run on a node that is asked to leave
_GRACE_S = 20  # a node that was asked to leave and has not is killed
_OURS = ("num_cpus", "num_gpus", "resources", "labels", "memory", "object_store_memory", "env_vars")
_DEFAULTS = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 150 * 1024 * 1024}
# Ports, the dashboard and Redis: there is nothing here that they could change.
_WITHOUT_MEANING = ("port", "dashboard", "redis", "include_dashboard", "node_ip_address", "node_name")


class AutoscalingCluster:
    """Not there: ray-mpi has the nodes of its Slurm or MPI job, and what joins it."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError(
            "ray.cluster_utils.AutoscalingCluster: ray-mpi has no autoscaler. Nodes come with the job, and with "
            "`ray-mpi --join`; in tests, Cluster.add_node() and remove_node()"
        )


class _Node:
    """One logical node. Its `address` is the head's: what ray.init(address=...) takes."""

    def __init__(self, options, environment, head, wait):
        self._head = head
        arguments = [*options, "--prestart-workers=0"]
        if head is not None:
            arguments += [f"--join={head.session}", f"--drain-timeout={_DRAIN_S}"]
        self._runtime = _session.Embedded(arguments, environment, wait)
        self._killed = False
        self._node_id = None  # it outlives the run directory

    @property
    def session(self):
        """Its run directory."""
        return self._runtime.session

    raylet_socket_name = _raylet_socket_name = session

    @property
    def address(self):
        """Of the cluster."""
        return (self._head or self).session

    gcs_address = address

    @property
    def node_id(self):
        """As in ray.nodes()."""
        if self._node_id is None:
            self._node_id = _session.read_session(self.session)["node"]
        return self._node_id

    unique_id = node_id

    @property
    def node_ip_address(self):
        """As in ray.nodes()."""
        own = self.node_id
        return next(node["ip"] for node in _core.nodes(self.address) if node["hex_id"] == own)

    def is_head(self):
        """Whether it is the head."""
        return self._head is None

    def get_session_dir_path(self):
        """Its run directory."""
        return self.session

    def kill_raylet(self, check_alive=True):
        """Kills the node's raylet: the death of the node. What else belongs to it ends with it."""
        pid = self._raylet_pid()
        if pid is None:
            if check_alive:
                raise RuntimeError(f"the raylet of node {self.session} is not running")
            return
        self._killed = True
        os.kill(pid, signal.SIGKILL)

    def kill_all_processes(self, check_alive=True, allow_graceful=False, wait=False):
        """Ends the node: asked to, it is drained and leaves the cluster; else, or if it does not, it is killed."""
        if check_alive and not self._runtime.alive():
            raise RuntimeError("the node has ended already")
        self._killed = True
        if self._runtime.alive() and _session.read_session(self.session):
            _ = self.node_id
        if self._head is None and allow_graceful:
            self._runtime.stop()
            return
        if allow_graceful and self._runtime.terminate(_GRACE_S):
            self._runtime.stop()
            return
        self.kill_raylet(check_alive=False)
        if wait:
            self._runtime.terminate(_GRACE_S)
            self._runtime.stop()

    def any_processes_alive(self):
        """Whether anything of it runs."""
        return self._runtime.alive()

    def remaining_processes_alive(self):
        """Whether all of it runs that was not killed on purpose."""
        return self._killed or self._runtime.alive()

    def abandon(self):
        """In a forked child: it is the parent's."""
        self._runtime.abandon()

    def _raylet_pid(self):
        """The keeper's child that is called so; None when there is none."""
        keeper = self._runtime.pid
        try:
            with open(f"/proc/{keeper}/task/{keeper}/children", encoding="ascii") as file:
                children = file.read().split()
        except OSError:
            return None
        for child in children:
            try:
                with open(f"/proc/{child}/comm", encoding="utf-8") as file:
                    if file.read().strip() == "ray-mpi-raylet":
                        return int(child)
            except OSError:
                continue
        return None


class Cluster:
    """As Ray's: `Cluster(initialize_head=True, head_node_args={"num_cpus": 2})`, `add_node(num_cpus=4)`, ..."""

    def __init__(self, initialize_head=False, connect=False, head_node_args=None, shutdown_at_exit=True):
        if connect and not initialize_head:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if not shutdown_at_exit:
            raise NotImplementedError(
                "Cluster(shutdown_at_exit=False): nodes end with the program that made them. `ray-mpi --serve` and "
                "`ray-mpi --join auto` start some that stay"
            )
        self.head_node = None
        self.worker_nodes = set()
        self.connected = False
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._abandon)
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self):
        """For ray.init(address=...); None without a head."""
        return self.head_node.address if self.head_node else None

    gcs_address = address

    def connect(self, namespace=None):
        """Makes this program a driver on the head."""
        assert self.address is not None and not self.connected
        _worker.init(address=self.address, namespace=namespace, ignore_reinit_error=True)
        self.connected = True

    def add_node(self, wait=True, **node_args):
        """One more node; the first is the head. Options as of ray.init: num_cpus (1), num_gpus (0), resources,
        labels, memory, object_store_memory (150 MiB), and env_vars, the environment of its workers."""
        unknown = [name for name in node_args if name not in _OURS and not name.endswith(_WITHOUT_MEANING)]
        if any(not name.startswith(("_", *_WITHOUT_MEANING)) for name in unknown):
            raise TypeError(f"add_node() does not know {', '.join(unknown)}: it takes {', '.join(_OURS)}")
        if "_system_config" in unknown:
            warnings.warn("add_node(_system_config=...): Ray's internal settings mean nothing here", stacklevel=2)
        given = {name: value for name, value in node_args.items() if name in _OURS and value is not None}
        environment = given.pop("env_vars", None)
        options = _session.node_options(**{**_DEFAULTS, **given})
        node = _Node(options, environment, self.head_node, wait or self.head_node is None)
        if self.head_node is None:
            self.head_node = node
            _session.own_cluster = node.session
        else:
            self.worker_nodes.add(node)
        return node

    def remove_node(self, node, allow_graceful=True):
        """Ends a node: it leaves when its tasks have ended, or 5 s have passed, and its objects have moved to other
        nodes; or (allow_graceful=False) it dies at once."""
        if _core.connected() and _core.session() == node.session:
            _worker.shutdown()
            raise ValueError(
                "Removing a node that is connected to this Ray client is not allowed because it will break the driver."
            )
        node.kill_all_processes(check_alive=False, allow_graceful=allow_graceful, wait=True)
        if node is self.head_node:
            self.head_node = None
            if _session.own_cluster == node.session:
                _session.own_cluster = None
        else:
            self.worker_nodes.remove(node)
        assert not node.any_processes_alive(), "There are zombie processes left over after killing."

    def wait_for_nodes(self, timeout=30):
        """Waits until as many nodes are alive as were added and not removed; else TimeoutError."""
        give_up_at = time.monotonic() + timeout
        while True:
            alive = sum(node["alive"] for node in _core.nodes(self.address))
            if alive == len(self.list_all_nodes()):
                return
            if time.monotonic() > give_up_at:
                raise TimeoutError(
                    f"Timed out while waiting for nodes to join: {alive} of {len(self.list_all_nodes())} are alive."
                )
            time.sleep(0.02)

    def list_all_nodes(self):
        """The head first."""
        return ([self.head_node] if self.head_node else []) + list(self.worker_nodes)

    def remaining_processes_alive(self):
        """Whether all nodes run that were not killed on purpose."""
        return all(node.remaining_processes_alive() for node in self.list_all_nodes())

    def shutdown(self):
        """Ends the head, and with it all nodes."""
        if self.head_node is not None:
            self.head_node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
            if _session.own_cluster == self.head_node.session:
                _session.own_cluster = None
        for node in self.worker_nodes:
            node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        self.head_node, self.worker_nodes, self.connected = None, set(), False
        atexit.unregister(self._at_exit)

    def _at_exit(self):
        if _core.connected() and _core.session() in [node.session for node in self.list_all_nodes()]:
            _worker.shutdown()
        self.shutdown()

    def _abandon(self):
        for node in self.list_all_nodes():
            node.abandon()
