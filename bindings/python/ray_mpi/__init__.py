# SPDX-License-Identifier: Apache-2.0
"""ray-mpi: Ray's programming model on MPI and Slurm. `import ray` and `import ray_mpi` are the same module."""

from ray_mpi import _alias
from ray_mpi import _installation as _installation
from ray_mpi._version import RAY_COMMIT as __commit__
from ray_mpi._version import RAY_VERSION as __version__

_alias.install()

from ray_mpi import _async, _core, exceptions, runtime_context  # noqa: E402
from ray_mpi._cluster import (  # noqa: E402
    _private_stats,
    available_resources,
    cluster_resources,
    get_gpu_ids,
    nodes,
    timeline,
)
from ray_mpi._core import ObjectRef, get, put  # noqa: E402
from ray_mpi._generators import DynamicObjectRefGenerator, ObjectRefGenerator  # noqa: E402
from ray_mpi._ids import (  # noqa: E402
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from ray_mpi._names import Language, LoggingConfig  # noqa: E402
from ray_mpi._names import getattr_lazily as __getattr__
from ray_mpi._remote import (  # noqa: E402
    client,
    java_actor_class,
    java_function,
    method,
    remote,
)
from ray_mpi._waiting import cancel, wait  # noqa: E402
from ray_mpi._worker import (  # noqa: E402
    LOCAL_MODE,
    SCRIPT_MODE,
    WORKER_MODE,
    init,
    is_initialized,
    shutdown,
)
from ray_mpi.actor import get_actor, kill  # noqa: E402
from ray_mpi.cross_language import cpp_function  # noqa: E402
from ray_mpi.runtime_context import get_runtime_context  # noqa: E402

ObjectID = ObjectRef
_async.attach()
_alias.import_alias("exceptions")

__all__ = [
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "LOCAL_MODE",
    "Language",
    "LoggingConfig",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "SCRIPT_MODE",
    "TaskID",
    "UniqueID",
    "WORKER_MODE",
    "WorkerID",
    "__version__",
    "available_resources",
    "cancel",
    "client",
    "cluster_resources",
    "cpp_function",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "java_actor_class",
    "java_function",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "runtime_context",
    "shutdown",
    "timeline",
    "wait",
]
