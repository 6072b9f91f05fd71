# SPDX-License-Identifier: Apache-2.0
"""A worker process: what happens once per process, per job, per function, per error. The loop over tasks is in
the extension."""

import atexit
import contextlib
import functools
import io
import json
import os
import signal
import sys
import threading

from ray_mpi import _core, _serialization, actor, exceptions
from ray_mpi._errors import traceback_text
from ray_mpi._ids import TaskID
from ray_mpi._stored_error import StoredTaskError
from ray_mpi._worker import WORKER_MODE, global_worker, ignore_step_signals, node_ip_address

_set_threads = None  # the OMP_NUM_THREADS that we set; None: the user's own stands


def main(token):
    """Run tasks until told to go; the process ends with this."""
    status = 0
    try:
        _prepare_process()
        _core.connect(os.environ["RAY_MPI_SESSION"], True, token, "worker")
        global_worker.mode = WORKER_MODE
        _core.run_worker()
        _shut_down_actor()
    except SystemExit as error:  # a task called sys.exit: to its owner the worker crashed
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:  # noqa: BLE001  (nobody above us)
        sys.stderr.write(traceback_text(error, error.__traceback__))
        status = 1
    end(status)


def _shut_down_actor():
    """The actor has ended in good order (not by ray.kill, nor with its job): it may say goodbye."""
    goodbye = getattr(type(global_worker.actor), "__ray_shutdown__", None)
    if goodbye is None:
        return
    goodbye = functools.partial(goodbye, global_worker.actor)
    try:
        if global_worker.call_loops is not None:
            global_worker.call_loops.say_goodbye(goodbye)
        else:
            goodbye()
    except Exception as error:  # noqa: BLE001  (user code, and nobody waits for it)
        sys.stderr.write(f"__ray_shutdown__ of the actor failed: {traceback_text(error, error.__traceback__)}")


class _TaskOutput(io.FileIO):
    """Our end of a pipe to the raylet: what goes through here bears the name of the task."""

    def write(self, data):
        return _core.write_output(self.fileno(), data)


_EXPENDABLE = b"1000"  # oom_score_adj, the highest; launcher/process.cc says the same for C++ workers


def _prepare_process():
    global_worker.pid = os.getpid()
    # Out of memory, the kernel ends us before the runtime and the driver (as Ray's workers): a task can be run again.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(_EXPENDABLE)
    _core.take_output_pipes()
    # Lines arrive at the driver one by one, whole; a descriptor that is no terminal would be fully buffered.
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = _TaskOutput(fd, "wb", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    signal.signal(signal.SIGINT, _core._on_interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ignore_step_signals(ours=(signal.SIG_DFL, signal.SIG_IGN))  # the zygote ignores them


def end(status):
    """Leave without tearing down the interpreter: other threads may be in user code."""
    try:
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # closed by user code, or the reader is gone
        os._exit(status & 0xFF)


# ---- called by the loop ---------------------------------------------------------------------------------------


def enter_job(job):
    """Before the first task of a job here: its folders, so that its modules are found as in the driver."""
    job_hex = job.to_bytes(4, "little").hex()
    config = json.loads(_core.import_bytes(f"job:{job_hex}"))
    global_worker.job_config = config
    global_worker.namespace = config["namespace"]
    own = [path for path in sys.path if path not in config["sys_path"]]
    sys.path[:] = config["sys_path"] + own
    try:
        os.chdir(config["cwd"])
    except OSError:
        pass  # a folder of the driver's node only


def set_threads(cpus):
    """OMP_NUM_THREADS as Ray sets it: the task's whole CPUs, at least 1, unless the user has set it."""
    global _set_threads
    if _set_threads is None and "OMP_NUM_THREADS" in os.environ:
        return
    wanted = str(max(1, int(cpus)))
    if _set_threads != wanted and os.environ.get("OMP_NUM_THREADS", _set_threads) == _set_threads:
        os.environ["OMP_NUM_THREADS"] = _set_threads = wanted


def set_variables(variables):
    """What shows the task its own devices, before libraries look."""
    os.environ.update(variables)


def load_function(function_id, function_name):
    """The callable of an exported function, or of one that another language names ("py:<module>:<name>")."""
    if function_id.startswith("py:"):
        return actor.named_target(function_id)
    body = _core.import_bytes(function_id)
    try:
        return _serialization.loads(body, [])
    except Exception as error:
        # An ImportError stays one: the module is missing here, and the text names it.
        error.args = (f"the remote function {function_name} could not be loaded in the worker: {error}",)
        raise


def take_results(result, count):
    """The results of a task with several return values: (a list, the exception that stands for the rest or None)."""
    if not hasattr(result, "__next__"):
        if len(result) != count:
            raise ValueError(f"Task returned {len(result)} objects, but num_returns={count}.")
        return list(result), None
    values = []
    try:  # a generator may give more; they are not asked for
        for value in result:
            values.append(value)
            if len(values) == count:
                return values, None
    except Exception as error:  # noqa: BLE001  (the task's)
        return values, error
    return values, ValueError(f"Task returned {len(values)} objects, but num_returns={count}.")


def actor_constructor(class_id, class_name, facts):
    """What makes this worker's actor from the arguments of its constructor."""
    cls = load_function(class_id, class_name)
    global_worker.actor_class_id = class_id
    global_worker.actor_resources = _core.current_resources()
    facts = json.loads(facts)
    global_worker.actor_name, global_worker.actor_namespace = facts["name"], facts["namespace"]
    most, groups = facts["max_concurrency"], [tuple(group) for group in facts.get("groups", [])]
    is_async = actor.is_async_class(cls)
    global_worker.actor_mode = is_async, most or (actor.ASYNC_CONCURRENCY if is_async else 1), groups
    if is_async:
        from ray_mpi._actor_async import CallLoops  # asyncio is not for all

        global_worker.call_loops = CallLoops(1 + len(groups))

    def construct(*args, **kwargs):
        global_worker.actor = cls(*args, **kwargs)

    return construct


def actor_mode():
    """(whether calls run in event loops, how many at once, [(concurrency group, how many of it at once)])"""
    return global_worker.actor_mode


def start_call(group, function, args, kwargs, call, task_id, streams):
    """Begins a call of an async actor; `streams`: of a generator."""
    global_worker.call_loops.start(group, function, args, kwargs, call, task_id, streams)


def run_loop(serve):
    """The event loop of an async actor without concurrency groups, in the main thread; `serve`: see _lane_loop.py."""
    global_worker.call_loops.run(serve)


def cancel_call(task_id):
    """A running call of an actor is to be cancelled: only async ones can be."""
    if global_worker.call_loops is not None:
        global_worker.call_loops.cancel(task_id)


def start_thread(group):
    """One more thread for the calls of this concurrency group of an actor without async methods."""

    def run():
        try:
            _core.run_worker(group)
        except SystemExit as error:
            end(error.code if isinstance(error.code, int) else int(error.code is not None))

    threading.Thread(target=run, daemon=True).start()


def actor_method(name):
    """What runs a method of this worker's actor; "py:<method>": another language calls it."""
    name = name.removeprefix("py:")
    if name == "__ray_ready__":
        return lambda: True
    if name == "__ray_terminate__":
        return actor.exit_actor
    if name == "__ray_call__":
        return lambda function, *args, **kwargs: function(global_worker.actor, *args, **kwargs)
    return getattr(global_worker.actor, name)


_ACTOR_CREATION, _ACTOR_CALL = 3, 4  # TaskKind of ids.h


def make_error(error, tb, function_name, name, retry_list, retry_exceptions, task_id, kind):
    """What to store for an exception of a task, and what other languages are told of it: (error, whether it may be
    retried, class, message, host, text, whether the actor is to end)."""
    of_actor = kind in (_ACTOR_CREATION, _ACTOR_CALL)
    if isinstance(error, SystemExit):
        if not of_actor or error.code not in (None, 0):
            raise error  # the process ends
        exited = exceptions.ActorDiedError(
            f"{exceptions.ActorDiedError.BASE_ERROR_MSG} The actor is dead because it ended itself with exit_actor()."
        )
        return exited, False, "ray::ActorExit", str(exited), _hostname(), str(exited), True
    if isinstance(error, KeyboardInterrupt) or _is_async_cancel(error):
        cancelled = exceptions.TaskCancelledError(TaskID(task_id))
        return cancelled, False, "ray::RayTaskCancelledException", str(cancelled), _hostname(), str(cancelled), False
    retry = bool(retry_exceptions) and isinstance(error, Exception)
    if retry and retry_list:
        retry = isinstance(error, tuple(_serialization.loads(retry_list, [])))
    cause = error
    if isinstance(error, exceptions.RayTaskError):  # of a task that this one waited for
        cause = error.cause
    text = traceback_text(error, tb)
    proctitle = f"ray::{name or function_name.rpartition('.')[2]}()"
    actor_repr = actor_id = None
    if of_actor:
        proctitle = f"ray::{function_name}.__init__()" if kind == _ACTOR_CREATION else f"ray::{name}()"
        actor_id = _core.actor_id_of(_core.current_actor()[0]).hex()
        actor_repr = object.__repr__(global_worker.actor) if global_worker.actor is not None else function_name
    task_error = exceptions.RayTaskError(
        function_name, text, cause, proctitle, os.getpid(), node_ip_address(), actor_repr, actor_id
    )
    stored = StoredTaskError(task_error, kind == _ACTOR_CREATION)
    return stored, retry, _class_name(cause), _safe_text(cause), _hostname(), stored.text, False


def _is_async_cancel(error):
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _class_name(error):
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _safe_text(error):
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001  (user code)
        return f"(its __str__ raised {type(failure).__name__})"


def _hostname():
    return os.uname().nodename
