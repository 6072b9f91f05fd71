# SPDX-License-Identifier: Apache-2.0
"""ray._private.worker: the process's state and the functions of `ray`."""

from ray_mpi._core import get, put
from ray_mpi.actor import get_actor, kill
from ray_mpi._remote import remote
from ray_mpi._waiting import cancel, wait
from ray_mpi._worker import (
    LOCAL_MODE,
    SCRIPT_MODE,
    WORKER_MODE,
    BaseContext,
    RayContext,
    Worker,
    global_worker,
    init,
    is_initialized,
    shutdown,
)

__all__ = [
    "BaseContext",
    "LOCAL_MODE",
    "RayContext",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "Worker",
    "cancel",
    "get",
    "get_actor",
    "global_worker",
    "init",
    "is_initialized",
    "kill",
    "put",
    "remote",
    "shutdown",
    "wait",
]
