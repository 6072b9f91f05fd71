# SPDX-License-Identifier: Apache-2.0
"""This process's connection: init, shutdown, and what the extension calls when something is rare or wrong."""

import atexit
import contextvars
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import warnings
from numbers import Real

from ray_mpi import _core, _serialization, _session, exceptions
from ray_mpi._version import RAY_COMMIT, RAY_VERSION

logger = logging.getLogger("ray")

SCRIPT_MODE, WORKER_MODE = 0, 1
LOCAL_MODE = 2
_OPEN_FILES = 65536


class Worker:
    """State of this process. `mode` is None, SCRIPT_MODE (driver) or WORKER_MODE."""

    def __init__(self):
        self.mode = None
        self.embedded = None
        self.namespace = None
        self.job_config = {}
        self.lock = threading.RLock()
        self.node_ip = None
        self.pid = os.getpid()
        self.actor = None  # the instance, in its own worker
        self.actor_class_id = self.actor_name = self.actor_namespace = None
        self.actor_resources = None  # that this worker's actor holds for life
        self.actor_mode = self.call_loops = None

    @property
    def connected(self):
        return _core.connected()


global_worker = Worker()
current_call = contextvars.ContextVar("ray_mpi_current_call", default=None)  # in an async actor: its id, as bytes


class BaseContext:
    """What ray.init returns: also a context manager that disconnects at its end."""

    def __init__(self, address_info):
        self.address_info = address_info
        self.dashboard_url = ""
        self.python_version = ".".join(map(str, sys.version_info[:3]))
        self.ray_version = RAY_VERSION
        self.ray_commit = RAY_COMMIT

    def disconnect(self):
        shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disconnect()

    def __getitem__(self, key):
        return self.address_info[key]

    def __contains__(self, key):
        return key in self.address_info

    def __iter__(self):
        return iter(self.address_info)

    def __len__(self):
        return len(self.address_info)

    def keys(self):
        return self.address_info.keys()

    def get(self, key, default=None):
        return self.address_info.get(key, default)

    def __repr__(self):
        return (
            f"RayContext(dashboard_url={self.dashboard_url!r}, python_version={self.python_version!r}, "
            f"ray_version={self.ray_version!r}, ray_commit={self.ray_commit!r})"
        )


class RayContext(BaseContext):
    """The context of a driver."""


# Ray's hidden words. All but those of spilling and _memory describe parts of Ray that ray-mpi does not have.
_HIDDEN = {
    "object_spilling_directory", "_cgroup_path", "_enable_object_reconstruction", "_plasma_directory",
    "_node_ip_address", "_driver_object_store_memory", "_memory", "_redis_username", "_redis_password",
    "_redis_max_memory", "_temp_dir", "_metrics_export_port", "_system_config", "_tracing_startup_hook",
    "_node_name", "_skip_env_hook", "storage",
}  # fmt: skip


def init(
    address=None,
    *,
    num_cpus=None,
    num_gpus=None,
    resources=None,
    labels=None,
    object_store_memory=None,
    local_mode=False,
    ignore_reinit_error=False,
    include_dashboard=None,
    dashboard_host="127.0.0.1",
    dashboard_port=None,
    job_config=None,
    configure_logging=True,
    logging_level="info",
    logging_format=None,
    logging_config=None,
    log_to_driver=None,
    namespace=None,
    runtime_env=None,
    enable_resource_isolation=False,
    cgroup_path=None,
    system_reserved_cpu=None,
    system_reserved_memory=None,
    proxy_server_url=None,
    **kwargs,
):
    """Connect this program to the runtime: the one it was launched in, or a new one-node runtime.

    Args:
        address: None (the launch around us, else RAY_ADDRESS, else a new runtime), "auto" (an existing one or
            ConnectionError), "local" (always a new one), or a run directory.
        num_cpus, num_gpus, resources, labels, object_store_memory: of the new runtime's node. Under a launch
            the node's resources are fixed; a warning says so.
        ignore_reinit_error: a second init returns the context instead of raising RuntimeError.
        object_spilling_directory: where objects go that do not fit into the object store; _system_config: its
            object_spilling_config, object_spilling_threshold, min_spilling_size, max_fused_object_count and
            max_io_workers are as Ray's. Of the new runtime's node, too.
        job_config: a ray.job_config.JobConfig; its code_search_path (folders, or .so files) has the libraries of
            C++ functions, see ray.cross_language.cpp_function.
        log_to_driver: repeat the workers' output here (default: environment RAY_LOG_TO_DRIVER, else yes).
        namespace: of this job's named things; a random one by default.

    The other words are accepted for programs written for Ray and have no effect.
    """
    unknown = sorted(set(kwargs) - _HIDDEN)
    if unknown:
        raise RuntimeError(f"Unknown keyword argument(s): {', '.join(unknown)}")
    with global_worker.lock:
        if _core.connected():
            if ignore_reinit_error:
                logger.info("Calling ray.init() again after it has already been called.")
                return _context()
            raise RuntimeError(
                "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
                "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
            )
        if local_mode:
            raise RuntimeError("local_mode is not supported any more: run with num_cpus=1 to look for errors")
        node = _node_options(num_cpus, num_gpus, resources, labels, object_store_memory, kwargs.get("_memory"))
        node["object_spilling_directory"] = kwargs.get("object_spilling_directory")
        node["system_config"] = _spilling_settings(kwargs.get("_system_config"))
        if namespace is not None and not isinstance(namespace, str):
            raise TypeError(f"namespace must be a string, not {type(namespace)}")
        if namespace == "":
            raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
        _refuse_runtime_env(runtime_env, job_config)
        if log_to_driver is None:
            log_to_driver = os.environ.get("RAY_LOG_TO_DRIVER", "1") not in ("0", "false", "False")
        code = _code_search_path(job_config)
        lifetime = getattr(job_config, "default_actor_lifetime", "non_detached")
        _connect_driver(address, node, namespace or os.urandom(16).hex(), bool(log_to_driver), code, lifetime)
        return _context()


def _refuse_runtime_env(runtime_env, job_config):
    env = runtime_env or getattr(job_config, "runtime_env", None)
    if env:
        raise NotImplementedError(
            f"ray.init(runtime_env=...) is not there yet in this version of ray-mpi (given: {env}). "
            "Workers run in the environment of the program: set variables before, install packages beside it."
        )


def _node_options(num_cpus, num_gpus, resources, labels, object_store_memory, memory):
    for name, value in (
        ("num_cpus", num_cpus),
        ("num_gpus", num_gpus),
        ("object_store_memory", object_store_memory),
        ("_memory", memory),
    ):
        if value is None:
            continue
        if not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if value < 0:
            raise ValueError(f"{name} must not be negative, but is {value}")
    if num_gpus is not None and num_gpus != int(num_gpus):
        raise ValueError(f"num_gpus must be a whole number, but is {num_gpus}: devices are offered whole")
    if resources is not None:
        if not isinstance(resources, dict):
            raise TypeError(f"resources must be a dict of name and amount, not {type(resources).__name__}")
        for reserved in ("CPU", "GPU", "memory", "object_store_memory"):
            if reserved in resources:
                raise ValueError(
                    f"Use the keyword of ray.init for {reserved} (num_cpus, num_gpus, ...), not 'resources'."
                )
        for name, amount in resources.items():
            if not isinstance(amount, Real) or amount < 0:
                raise ValueError(f"resources[{name!r}] must be a number that is not negative, but is {amount!r}")
    return {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "resources": resources,
        "labels": labels,
        "object_store_memory": object_store_memory,
        "memory": memory,
    }


def _spilling_settings(system_config):
    """Of Ray's internal settings those that mean something here."""
    names = ("object_spilling_config", "object_spilling_threshold", "min_spilling_size", "max_io_workers")
    names += ("max_fused_object_count",)
    return {name: system_config[name] for name in names if name in (system_config or {})} or None


def _code_search_path(job_config):
    """The absolute folders and libraries of JobConfig(code_search_path=[...])."""
    paths = getattr(job_config, "code_search_path", None) or []
    if isinstance(paths, str) or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise TypeError(f"code_search_path must be a list of paths, not {paths!r}")
    return [os.path.abspath(os.fspath(path)) for path in paths]


def _connect_driver(address, node, namespace, log_to_driver, code_search_path, actor_lifetime):
    session = _session.resolve(address)
    given = [name for name, value in node.items() if value is not None]
    if session is None:
        _check_gpus(node["num_gpus"])
        global_worker.embedded = _session.start_embedded(**node)
        session = global_worker.embedded.session
    elif given and session == os.environ.get("RAY_MPI_SESSION"):
        warnings.warn(
            f"ray.init({', '.join(given)}): under ray-mpi the resources of the nodes come from the launch; "
            "these are ignored (use the options of ray-mpi instead).",
            stacklevel=3,
        )
    elif given:
        raise ValueError(f"When connecting to an existing cluster, {' and '.join(given)} must not be provided.")
    try:
        name = os.path.basename(sys.argv[0] or "python")
        cpp_worker = _session.cpp_worker(code_search_path)
        _core.connect(session, False, 0, name, namespace, log_to_driver, cpp_worker, os.getcwd())
        global_worker.mode = SCRIPT_MODE
        global_worker.namespace = namespace
        _export_job_config(namespace, code_search_path, actor_lifetime)
    except BaseException:
        _core.disconnect()
        _stop_embedded()
        raise
    _process_settings()


def _check_gpus(num_gpus):
    """ValueError, as in Ray, for more GPUs than the mask around us has; the command would refuse them, too."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):
        mask = os.environ.get(variable)
        if mask is None:
            continue
        visible = [] if mask in ("", "NoDevFiles") else mask.split(",")
        if num_gpus is not None and num_gpus > len(visible):
            raise ValueError(f"Attempting to start raylet with {num_gpus} GPU, but {variable} contains {visible}.")
        return


def _export_job_config(namespace, code_search_path, actor_lifetime):
    """What workers need before the first task of this job: where modules lie, the folder, the namespace."""
    config = {
        "sys_path": list(dict.fromkeys([*_driver_path(), *code_search_path])),
        "cwd": os.getcwd(),
        "namespace": namespace,
        "argv0": sys.argv[0] if sys.argv else "",
        "cpp_worker": bool(code_search_path),
        "actor_lifetime": actor_lifetime,
    }
    global_worker.job_config = config
    _core.export_bytes(f"job:{_core.job_id()}", json.dumps(config).encode())


def _driver_path():
    folders = [os.path.abspath(path) for path in sys.path]  # "" is the working directory
    return list(dict.fromkeys([*folders[:1], os.getcwd(), *folders[1:]]))


def _process_settings():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if threading.current_thread() is threading.main_thread():
        ignore_step_signals()
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def ignore_step_signals(ours=(signal.SIG_DFL,)):
    """Slurm's --signal may reach every process of the step; Python's default would end us. A handler, not
    SIG_IGN: that would be inherited by what the program starts. Dispositions other than `ours` stay: they are the
    program's own."""
    caught = _caught_signals()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        if not caught >> (number - 1) & 1 and signal.getsignal(number) in ours:
            signal.signal(number, lambda *_: None)


def _caught_signals():
    """The mask of signals with a handler, those of C libraries (faulthandler) included."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return int(line.split()[1], 16)
    return 0


_SAME_SIGTERM_S = 1.0
_sigterm_at = -_SAME_SIGTERM_S


def _on_sigterm(signum, frame):
    """Slurm sends it to every process of a step, so one scancel comes twice: from Slurm and through the keeper."""
    global _sigterm_at
    now = time.monotonic()
    if now - _sigterm_at >= _SAME_SIGTERM_S:
        _sigterm_at = now
        sys.exit(128 + signum)


def _context():
    session = _core.session()
    return RayContext(
        {
            "node_ip_address": node_ip_address(),
            "node_id": _core.node_hex(),
            "address": session,
            "gcs_address": session,
            "session_dir": session,
            "object_store_address": session,
            "raylet_socket_name": session,
            "redis_address": None,
            "webui_url": "",
            "dashboard_url": "",
            "metrics_export_port": 0,
        }
    )


def auto_init():
    """Ray's rule: the first call that needs the runtime starts it."""
    with global_worker.lock:
        if not _core.connected():
            if global_worker.mode == WORKER_MODE:
                raise exceptions.RaySystemError("the runtime of this worker is gone")
            init()


def is_initialized():
    """Whether ray.init has been called and ray.shutdown has not."""
    return _core.connected()


def shutdown(*, wait_for_processes=False, _exiting_interpreter=False):
    """End this program's job, and the runtime if it was started for it. Safe to call twice."""
    with global_worker.lock:
        if global_worker.mode == WORKER_MODE:
            return  # a task's runtime is not its own to end
        _core.disconnect()
        _stop_embedded()
        global_worker.mode = None
        global_worker.namespace = None


def _stop_embedded():
    if global_worker.embedded is not None:
        global_worker.embedded.stop()
        global_worker.embedded = None


def _at_exit():
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        pass  # closed by the program, or nobody reads it any more
    shutdown(_exiting_interpreter=True)


atexit.register(_at_exit)


def _after_fork_in_child():
    if global_worker.pid == os.getpid():
        return
    global_worker.pid = os.getpid()
    if global_worker.mode is not None:
        # A child made by user code (multiprocessing) has a copy of our memory, not our place in the runtime.
        _core.abandon_after_fork()
        if global_worker.embedded is not None:
            global_worker.embedded.abandon()
            global_worker.embedded = None
        global_worker.mode = None
        global_worker.lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def node_ip_address():
    """This node's address as its peers see it."""
    if global_worker.node_ip is None:
        from ray_mpi.util import get_node_ip_address

        global_worker.node_ip = get_node_ip_address()
    return global_worker.node_ip
