# SPDX-License-Identifier: Apache-2.0
"""ray.wait and ray.cancel: the rules about their arguments."""

from ray_mpi import _core
from ray_mpi._generators import ObjectRefGenerator
from ray_mpi._worker import auto_init


def wait(ray_waitables, *, num_returns=1, timeout=None, fetch_local=True):
    """Split a list of refs into (ready, not ready), in the list's order.

    Waits until num_returns are ready (exactly so many are returned as ready) or `timeout` seconds have passed.
    fetch_local: ready means that the value is on this node.
    """
    if type(ray_waitables) is not list:
        _refuse_waitables(ray_waitables)
    if not _core.connected():
        auto_init()
    if not ray_waitables:
        return [], []
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}.")
    if num_returns > len(ray_waitables):
        raise ValueError("num_returns cannot be greater than the number of ray_waitables provided to ray.wait.")
    if timeout is not None and timeout < 0:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    return _core._wait(ray_waitables, num_returns, timeout, fetch_local)


def _refuse_waitables(value):
    if isinstance(value, list):
        return
    if isinstance(value, (_core.ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got a single ray.ObjectRef or "
            f"ray.ObjectRefGenerator {value}"
        )
    raise TypeError(f"wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got {type(value)}")


def cancel(ray_waitable, *, force=False, recursive=True):
    """Cancel a task: a queued one is dropped, a running one gets KeyboardInterrupt (force: is killed)."""
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable._generator_ref
    if not isinstance(ray_waitable, _core.ObjectRef):
        raise TypeError(
            f"ray.cancel() only supported for object refs. For actors, try ray.kill(). Got: {type(ray_waitable)}."
        )
    if force and _core.is_actor_call(ray_waitable):
        raise ValueError("force=True is not supported for actor tasks.")
    auto_init()
    _core.cancel(ray_waitable, force, recursive)
