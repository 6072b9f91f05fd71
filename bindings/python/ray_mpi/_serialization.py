# SPDX-License-Identifier: Apache-2.0
"""Pickling as the codec wants it: cloudpickle, protocol 5, big buffers out of band.

Called by the extension for everything that has no fast form. Never plain pickle: it would pickle classes of
__main__ by reference, and they would be missing in the worker.
"""

import copyreg
import io
import pickle
from collections import ChainMap

import cloudpickle

# Serializers registered by the user, by class; in front of cloudpickle's own.
_registered = {}


class _Pickler(cloudpickle.Pickler):
    dispatch_table = ChainMap(_registered, cloudpickle.Pickler.dispatch_table, copyreg.dispatch_table)


def dumps(value):
    """(pickle, [out-of-band buffers]) of a value."""
    buffers = []
    with io.BytesIO() as file:
        _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
        return file.getvalue(), buffers


def loads(body, buffers):
    return pickle.loads(body, buffers=buffers)


def dumps_inband(value):
    """One bytes object, for code and settings that travel outside of the object store."""
    with io.BytesIO() as file:
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()


def explain(what, value, error):
    """The text of the TypeError about something that does not pickle."""
    from ray_mpi.util.check_serialize import describe

    return f"Could not serialize {what} {value!r}: {error}\n{describe(value)}"


def _rebuild(deserializer, data):
    return deserializer(data)


def register_serializer(cls, *, serializer, deserializer):
    """Use `serializer` for exactly this class in this process; the deserializer travels with each value."""
    _registered[cls] = lambda value: (_rebuild, (deserializer, serializer(value)))


def deregister_serializer(cls):
    _registered.pop(cls, None)
