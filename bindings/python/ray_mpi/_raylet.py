# SPDX-License-Identifier: Apache-2.0
"""Names that libraries take from Ray's compiled module."""

from ray_mpi._core import ObjectRef
from ray_mpi._generators import DynamicObjectRefGenerator, ObjectRefGenerator
from ray_mpi._ids import (
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
from ray_mpi.exceptions import ObjectRefStreamEndOfStreamError

ObjectID = ObjectRef
RESOURCE_UNIT_SCALING = 10000
OPTIMIZED = True
RAY_NODE_ID_KEY = "ray.io/node-id"

__all__ = [
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "ObjectRefStreamEndOfStreamError",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
]
