# SPDX-License-Identifier: Apache-2.0
"""What the extension calls to raise: it knows what went wrong, these know Ray's classes and words."""

import os
import traceback

from ray_mpi import _core, _session, exceptions
from ray_mpi._generators import ObjectRefGenerator
from ray_mpi._ids import TaskID
from ray_mpi._stored_error import StoredTaskError


def status_error(code, message):
    """The exception for a failed call of the core; codes as in runtime/base/status.h."""
    makers = {
        1: ValueError,
        2: ValueError,
        3: exceptions.GetTimeoutError,
        5: exceptions.ObjectStoreFullError,
        10: exceptions.PendingCallsLimitExceeded,
        11: exceptions.OutOfDiskError,
    }
    return makers.get(code, exceptions.RaySystemError)(message)


def raise_value(error):
    """Raise what an error object holds, or what a task returned that is an error of ours."""
    if isinstance(error, StoredTaskError):
        error = error.restore()
    if isinstance(error, exceptions.RayTaskError):
        raise error.as_instanceof_cause()
    raise error


# Why a lost object is not made again: kinds of ErrorType, and Ray's names.
_NOT_MADE_AGAIN = {
    32: "OBJECT_UNRECONSTRUCTABLE_PUT",
    33: "OBJECT_UNRECONSTRUCTABLE_RETRIES_DISABLED",
    34: "OBJECT_UNRECONSTRUCTABLE_MAX_ATTEMPTS_EXCEEDED",
    35: "OBJECT_UNRECONSTRUCTABLE_LINEAGE_EVICTED",
    36: "OBJECT_UNRECONSTRUCTABLE_TASK_CANCELLED",
    37: "OBJECT_UNRECONSTRUCTABLE_REF_NOT_FOUND",
}


def raise_system(kind, message, context, object_hex):
    """Raise the exception of an error made by the runtime; kinds as ErrorType of core_worker.h."""
    if kind == 1:
        raise exceptions.WorkerCrashedError(message) if message else exceptions.WorkerCrashedError()
    if kind == 2:
        raise exceptions.TaskCancelledError(_task_id(context), message or None)
    origin = _core.origin_of(bytes.fromhex(object_hex)) if kind in (3, 4) or kind in _NOT_MADE_AGAIN else ""
    if kind in (3, 4):
        error = (exceptions.ObjectLostError if kind == 3 else exceptions.OwnerDiedError)(object_hex, None, origin)
        error.reason = message
        raise error
    if kind in _NOT_MADE_AGAIN:
        # The lost one may be an argument of the task that was to make the other.
        raise exceptions.ObjectReconstructionFailedError(
            context or object_hex, _NOT_MADE_AGAIN[kind], message, call_site=origin
        )
    if kind == 12:
        raise exceptions.ActorUnavailableError(message, None)
    if kind == 16:
        raise exceptions.TaskPlacementGroupRemoved
    makers = {
        5: exceptions.NodeDiedError,
        6: exceptions.ObjectStoreFullError,
        7: exceptions.TaskUnschedulableError,
        10: exceptions.OutOfMemoryError,
        11: exceptions.ActorDiedError,
        13: exceptions.ActorUnschedulableError,
        14: exceptions.ObjectRefStreamEndOfStreamError,
        15: exceptions.StreamingGeneratorReplayInconsistentError,
        17: exceptions.ActorPlacementGroupRemoved,
    }
    raise makers.get(kind, exceptions.RaySystemError)(message)


def raise_foreign(language, function, kind, message, cancelled, actor_died, text):
    """Raise the error of a task in another language: its class and text, and where it happened."""
    if cancelled:
        raise exceptions.TaskCancelledError(None, text)
    if actor_died:
        raise exceptions.ActorDiedError(text)
    raise exceptions.CrossLanguageError(language, function, kind, message, text)


def _task_id(text):
    try:
        return TaskID.from_hex(text[:48])
    except ValueError:
        return None


def raise_get_timeout(missing, total):
    raise exceptions.GetTimeoutError(f"Get timed out: some object(s) not ready ({missing} of {total}).")


def raise_bad_get(value, inside_list):
    """Refuse what is no ref; `value` alone may also be something that get() hands back."""
    if isinstance(value, ObjectRefGenerator) and not inside_list:
        return value
    if inside_list:
        raise TypeError(f"Attempting to call `get` on the value {value}, which is not an ray.ObjectRef.")
    raise ValueError(
        f"Invalid type of object refs, {type(value)}, is given. 'object_refs' must either be an ObjectRef or a "
        "list of ObjectRefs. "
    )


def check_put(*args, **kwargs):
    """Refuse what put() does not take; returns what to store."""
    if kwargs.pop("_owner", None) is not None:
        raise ValueError("The experimental `_owner` argument to `ray.put` has been removed in Ray 2.56.")
    if kwargs.pop("_tensor_transport", None) is not None:
        raise NotImplementedError("ray.put(_tensor_transport=...) is not there yet in this version of ray-mpi")

    def put(value):
        return value

    value = put(*args, **kwargs)
    if isinstance(value, _core.ObjectRef):
        raise TypeError(
            "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, you can wrap the "
            "ray.ObjectRef in a list and call 'put' on it."
        )
    return value


def traceback_text(error, tb):
    """A traceback without the frames of this package."""
    lines = []
    for block in traceback.format_exception(type(error), error, tb):
        for line in _without_our_frames(block):
            lines.append(line)
    return "\n".join(lines).rstrip("\n") + "\n"


def _without_our_frames(block):
    ours = f'File "{_session.PACKAGE}{os.sep}'
    keep, skipping = [], False
    for line in block.rstrip("\n").split("\n"):
        stripped = line.lstrip()
        if stripped.startswith('File "'):
            skipping = stripped.startswith(ours)
        elif skipping and not line.startswith("    "):
            skipping = False
        if not skipping:
            keep.append(line)
    return keep
