# SPDX-License-Identifier: Apache-2.0
"""Ids other than ObjectRef's: immutable bytes of a fixed length, with Ray's names and lengths."""

import os


class BaseID:
    """The id of something, as bytes."""

    _SIZE = 28
    __slots__ = ("_bytes",)

    def __init__(self, id):  # noqa: A002  (Ray's name)
        if not isinstance(id, bytes):
            raise TypeError(f"Unsupported type: {type(id)}")
        if len(id) != self._SIZE:
            raise ValueError(f"ID string needs to have length {self._SIZE}, got {len(id)}")
        self._bytes = id

    @classmethod
    def from_binary(cls, binary):
        return cls(binary)

    @classmethod
    def from_hex(cls, text):
        return cls(bytes.fromhex(text))

    @classmethod
    def from_random(cls):
        return cls(os.urandom(cls._SIZE))

    @classmethod
    def nil(cls):
        return cls(b"\xff" * cls._SIZE)

    @classmethod
    def size(cls):
        return cls._SIZE

    def is_nil(self):
        return self._bytes == b"\xff" * self._SIZE

    def binary(self):
        return self._bytes

    def hex(self):
        return self._bytes.hex()

    def __eq__(self, other):
        return type(self) is type(other) and self._bytes == other._bytes

    def __lt__(self, other):
        return self._bytes < other._bytes

    def __hash__(self):
        return hash(self._bytes)

    def __repr__(self):
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self):
        return type(self), (self._bytes,)


class UniqueID(BaseID):
    """An id of no special kind."""


class NodeID(UniqueID):
    """The id of a node; never reused within a run."""


class WorkerID(UniqueID):
    """The id of a process that runs user code."""


class FunctionID(UniqueID):
    """The id of an exported function."""


class ActorClassID(UniqueID):
    """The id of an exported actor class."""


class ClusterID(UniqueID):
    """The id of a run."""


class JobID(BaseID):
    """The id of a driver's job."""

    _SIZE = 4

    @classmethod
    def from_int(cls, value):
        return cls(value.to_bytes(4, "little"))

    def int(self):
        return int.from_bytes(self._bytes, "little")


class ActorID(BaseID):
    """The id of an actor."""

    _SIZE = 16


class PlacementGroupID(BaseID):
    """The id of a placement group."""

    _SIZE = 18


class TaskID(BaseID):
    """The id of a task."""

    _SIZE = 24

    def actor_id(self):
        """Of an actor's task; nil for all others."""
        return ActorID.nil()

    def job_id(self):
        return JobID(self._bytes[-4:])
