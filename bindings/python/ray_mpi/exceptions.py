# SPDX-License-Identifier: Apache-2.0
"""Ray's exceptions: the same names, bases and constructors. They travel between processes as pickles."""

from ray_mpi import _task_error
from ray_mpi._ids import TaskID
from ray_mpi._task_error import RayError, RayTaskError

_SYSTEM_DEATH = "The worker died unexpectedly while executing this task."


class CrossLanguageError(RayError):
    """A task in another language failed. Its str() has all of it; `language`, `function`, `type_name` (of the
    exception) and `message` have the parts."""

    def __init__(self, language, function="", type_name="", message="", text=""):
        super().__init__(language, function, type_name, message, text)
        self.language, self.function, self.type_name, self.message, self.text = self.args

    def __str__(self):
        name = {"C++": "CPP"}.get(self.language, self.language)
        return f"An exception raised from {name}:\n{self.text}"


class TaskCancelledError(RayError):
    """The task was cancelled, or something that it depends on."""

    def __init__(self, task_id=None, error_message=None):
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self):
        if self.task_id is None and not self.error_message:
            return "This task or its dependency was cancelled"
        name = self.task_id.hex() if isinstance(self.task_id, TaskID) else self.task_id
        text = f"Task: {name} was cancelled." if name else "The task was cancelled."
        return f"{text} {self.error_message}" if self.error_message else text


class LocalRayletDiedError(RayError):
    """The raylet of this node is gone."""

    def __str__(self):
        return str(self.args[0]) if self.args else "The task's local raylet died."


class WorkerCrashedError(RayError):
    """The process that ran the task ended before the task did."""

    def __str__(self):
        return f"{_SYSTEM_DEATH} {self.args[0]}" if self.args else _SYSTEM_DEATH


class RayActorError(RayError):
    """An actor cannot run the method."""

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(self, actor_id=None, error_msg=BASE_ERROR_MSG, actor_init_failed=False, preempted=False):
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)
        self._actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted

    @property
    def actor_id(self):
        return self._actor_id

    @property
    def actor_init_failed(self):
        return self._actor_init_failed

    @property
    def preempted(self):
        return self._preempted

    def __str__(self):
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor is dead for good."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(self, cause=None):
        message = self.BASE_ERROR_MSG
        if isinstance(cause, RayTaskError):
            message = f"The actor died because of an error raised in its creation task, {cause}"
        elif cause is not None:
            message = str(cause)
        super().__init__(None, message, isinstance(cause, RayTaskError))
        self.args = (cause,)


class ActorUnavailableError(RayActorError):
    """The actor may come back. actor_id None: the message has it."""

    def __init__(self, error_message, actor_id):
        actor = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        text = error_message if actor is None else f"The actor {actor} is unavailable: {error_message}"
        super().__init__(actor, text)
        self.args = (error_message, actor_id)


class RaySystemError(RayError):
    """Something below the user's code went wrong."""

    def __init__(self, client_exc, traceback_str=None):
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self):
        text = f"System error: {self.client_exc}"
        return f"{text}\ntraceback: {self.traceback_str}" if self.traceback_str else text


class UserCodeException(RayError):
    """User code raised outside of a task."""


class AuthenticationError(RayError):
    """The peer does not know the run's secret."""

    def __init__(self, message):
        super().__init__(message)


class UnserializableException(RayError):
    """A task's exception cannot be rebuilt in this process; the original's text is kept."""

    def __init__(self, original_stack_trace):
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace

    def __str__(self):
        return (
            "Failed to deserialize exception: its class cannot be rebuilt from what was pickled (give it a "
            "__reduce__, or pass all constructor arguments to Exception.__init__).\n"
            f"Original exception:\n{self._original_stack_trace}"
        )


class ObjectStoreFullError(RayError):
    """The object store has no room, and nothing in it can go."""

    def __str__(self):
        return super().__str__() or "The object store is full."


class OutOfDiskError(RayError):
    """No room on the local disk."""

    def __str__(self):
        return super().__str__() or "The local disk is full."


class OutOfMemoryError(RayError):
    """The node ran out of memory, and the task was ended for it."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message

    def __str__(self):
        return self.message


class NodeDiedError(RayError):
    """The node is gone, or was never there."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message

    def __str__(self):
        return self.message


class ObjectLostError(RayError):
    """The object is gone and cannot be made again."""

    _TEXT = "is lost: all copies of it are gone"

    def __init__(self, object_ref_hex, owner_address=None, call_site=""):
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = (call_site or "").replace("\n  ", "\n    ")
        self.reason = ""  # from the runtime, where it knows more

    def __reduce__(self):
        return type(self), self.args, {"reason": self.reason}

    def __str__(self):
        return self._say(self.reason)

    def _say(self, why):
        text = " ".join(filter(None, [f"Object {self.object_ref_hex} {self._TEXT}.", why]))
        if self.call_site:
            return f"{text} Its reference was made here: {self.call_site}"
        return f"{text} (With RAY_record_ref_creation_sites=1 this would say where its reference was made.)"


class ObjectFetchTimedOutError(ObjectLostError):
    """The object did not arrive in time."""

    _TEXT = "could not be fetched in time"


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object went out of scope although it is still used."""

    _TEXT = "was released by its owner although it is still in use"


class ObjectFreedError(ObjectLostError):
    """The object was freed on purpose."""

    _TEXT = "was freed"


class OwnerDiedError(ObjectLostError):
    """The process that made the reference is gone, and the object with it."""

    _TEXT = "cannot be had because its owner, the process that created the reference, has died"


class ObjectReconstructionFailedError(ObjectLostError):
    """The object is lost, and the task that made it could not run again."""

    _TEXT = "is lost and could not be made again"

    def __init__(self, object_ref_hex, reason=None, reason_message=None, owner_address=None, call_site=""):
        super().__init__(object_ref_hex, owner_address, call_site)
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)
        self.reason = reason  # Ray's name of it: "OBJECT_UNRECONSTRUCTABLE_PUT" and others
        self.reason_message = reason_message or ""

    def __str__(self):
        return self._say(" ".join(filter(None, [self.reason and f"[{self.reason}]", self.reason_message])))


class GetTimeoutError(RayError, TimeoutError):
    """get() did not have everything in time."""


class PlasmaObjectNotAvailable(RayError):
    """The object is not in this node's store."""


class AsyncioActorExit(RayError):
    """An async actor leaves."""


class RuntimeEnvSetupError(RayError):
    """The runtime environment could not be made."""

    def __init__(self, error_message=None):
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self):
        text = "Failed to set up runtime environment."
        return f"{text}\n{self.error_message}" if self.error_message else text


class TaskPlacementGroupRemoved(RayError):
    """The placement group that the task was to run in is gone."""

    def __str__(self):
        return "The placement group corresponding to this task has been removed."


class PendingCallsLimitExceeded(RayError):
    """More calls wait at the actor than max_pending_calls."""


class TaskUnschedulableError(RayError):
    """The task can never run."""

    def __init__(self, error_message):
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self):
        return f"The task is not schedulable: {self.error_message}"


class ActorUnschedulableError(RayError):
    """The actor can never be placed."""

    def __init__(self, error_message):
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self):
        return f"The actor is not schedulable: {self.error_message}"


class ActorPlacementGroupRemoved(ActorUnschedulableError):
    """The placement group that the actor was to live in is gone. (Ray raises ActorUnschedulableError.)"""


class ActorAlreadyExistsError(ValueError, RayError):
    """The name is taken."""

    def __init__(self, error_message):
        super().__init__(error_message)


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle is not known in this cluster."""

    def __init__(self, error_message):
        super().__init__(error_message)


class ObjectRefStreamEndOfStreamError(RayError):
    """A generator has no more items."""


class OufOfBandObjectRefSerializationException(RayError):
    """An ObjectRef was pickled where that is forbidden. (The spelling is Ray's.)"""


class RpcError(RayError):
    """A message could not be delivered."""

    def __init__(self, message, rpc_code=None):
        super().__init__(message)
        self.message = message
        self.rpc_code = rpc_code

    def __str__(self):
        return self.message


class RayChannelError(RaySystemError):
    """A compiled graph's channel failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A compiled graph's channel took too long."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph holds as many results as it may."""


class RayDirectTransportError(RaySystemError):
    """A direct transport between devices failed."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator that ran again gave another number of items."""


RAY_EXCEPTION_TYPES = [
    PlasmaObjectNotAvailable,
    RayError,
    RayTaskError,
    WorkerCrashedError,
    RayActorError,
    ObjectStoreFullError,
    ObjectLostError,
    ObjectFetchTimedOutError,
    ReferenceCountingAssertionError,
    ObjectReconstructionFailedError,
    OwnerDiedError,
    GetTimeoutError,
    AsyncioActorExit,
    RuntimeEnvSetupError,
    TaskPlacementGroupRemoved,
    ActorPlacementGroupRemoved,
    PendingCallsLimitExceeded,
    LocalRayletDiedError,
    TaskUnschedulableError,
    ActorDiedError,
    ActorUnschedulableError,
    ActorUnavailableError,
    RayChannelError,
    RayChannelTimeoutError,
    OufOfBandObjectRefSerializationException,
    RayCgraphCapacityExceeded,
    UnserializableException,
    ActorAlreadyExistsError,
    ActorHandleNotFoundError,
    AuthenticationError,
]

# Programs match "ray.exceptions.X" in logs; pickles by reference find the classes there as well (see _alias).
for _class in [c for c in globals().values() if isinstance(c, type) and issubclass(c, BaseException)]:
    if _class.__module__ in (__name__, _task_error.__name__):
        _class.__module__ = "ray.exceptions"
del _class
