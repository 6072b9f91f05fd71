# SPDX-License-Identifier: Apache-2.0
"""The tree of exceptions is Ray 2.60's: names and bases; each can be raised, shown and pickled."""

import inspect
import pickle

import cloudpickle
import pytest
from ray import exceptions
from ray_mpi._stored_error import StoredTaskError

# Name -> names of the bases, as `ray.exceptions` of Ray 2.60.0 has them.
TREE = {
    "ActorAlreadyExistsError": ["ValueError", "RayError"],
    "ActorDiedError": ["RayActorError"],
    "ActorHandleNotFoundError": ["ValueError", "RayError"],
    # In Ray a RayError that nothing raises: such actors raise the base that it has here, so both are caught.
    "ActorPlacementGroupRemoved": ["ActorUnschedulableError"],
    "ActorUnavailableError": ["RayActorError"],
    "ActorUnschedulableError": ["RayError"],
    "AsyncioActorExit": ["RayError"],
    "AuthenticationError": ["RayError"],
    "CrossLanguageError": ["RayError"],
    "GetTimeoutError": ["RayError", "TimeoutError"],
    "LocalRayletDiedError": ["RayError"],
    "NodeDiedError": ["RayError"],
    "ObjectFetchTimedOutError": ["ObjectLostError"],
    "ObjectFreedError": ["ObjectLostError"],
    "ObjectLostError": ["RayError"],
    "ObjectReconstructionFailedError": ["ObjectLostError"],
    "ObjectRefStreamEndOfStreamError": ["RayError"],
    "ObjectStoreFullError": ["RayError"],
    "OufOfBandObjectRefSerializationException": ["RayError"],
    "OutOfDiskError": ["RayError"],
    "OutOfMemoryError": ["RayError"],
    "OwnerDiedError": ["ObjectLostError"],
    "PendingCallsLimitExceeded": ["RayError"],
    "PlasmaObjectNotAvailable": ["RayError"],
    "RayActorError": ["RayError"],
    "RayCgraphCapacityExceeded": ["RaySystemError"],
    "RayChannelError": ["RaySystemError"],
    "RayChannelTimeoutError": ["RayChannelError", "TimeoutError"],
    "RayDirectTransportError": ["RaySystemError"],
    "RayError": ["Exception"],
    "RaySystemError": ["RayError"],
    "RayTaskError": ["RayError"],
    "ReferenceCountingAssertionError": ["ObjectLostError", "AssertionError"],
    "RpcError": ["RayError"],
    "RuntimeEnvSetupError": ["RayError"],
    "StreamingGeneratorReplayInconsistentError": ["RaySystemError"],
    "TaskCancelledError": ["RayError"],
    "TaskPlacementGroupRemoved": ["RayError"],
    "TaskUnschedulableError": ["RayError"],
    "UnserializableException": ["RayError"],
    "UserCodeException": ["RayError"],
    "WorkerCrashedError": ["RayError"],
}

ARGUMENTS = {
    "ActorUnavailableError": ("busy", b"id"),
    "ObjectReconstructionFailedError": ("ab" * 28, None, "no retries left"),
    "RayTaskError": (
        "module.f",
        "Traceback (most recent call last):\nValueError: x\n",
        ValueError("x"),
        "ray::f()",
        1,
        "1.2.3.4",
    ),
    "RayActorError": ("ab" * 8, "it fell over"),
}


def make(name):
    cls = getattr(exceptions, name)
    if name in ARGUMENTS:
        return cls(*ARGUMENTS[name])
    required = [
        p
        for p in inspect.signature(cls.__init__).parameters.values()
        if p.name != "self" and p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return cls(*("ab" * 28 for _ in required))


def test_no_name_is_missing_and_none_is_our_own():
    ours = {
        name: [base.__name__ for base in cls.__bases__]
        for name, cls in vars(exceptions).items()
        if isinstance(cls, type) and issubclass(cls, BaseException)
    }
    assert ours == TREE


def test_the_list_of_types():
    assert exceptions.RayTaskError in exceptions.RAY_EXCEPTION_TYPES
    assert {cls.__name__ for cls in exceptions.RAY_EXCEPTION_TYPES} <= set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_each_can_be_shown_and_pickled(name):
    error = make(name)
    assert isinstance(str(error), str) and repr(error)
    for module in (pickle, cloudpickle):
        copy = module.loads(module.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)


@pytest.mark.parametrize("name", TREE)
def test_logs_name_the_module_that_programs_know(name):
    assert getattr(exceptions, name).__module__ == "ray.exceptions"


def task_error(cause):
    text = f'Traceback (most recent call last):\n  File "x.py", line 1, in f\n{type(cause).__name__}: {cause}\n'
    return exceptions.RayTaskError("module.f", text, cause, "ray::f()", 42, "10.0.0.1")


class Picky(Exception):
    """Neither __new__ nor __init__ can be called without arguments."""

    def __new__(cls, number, *, needed):
        return super().__new__(cls, number)

    def __init__(self, number, *, needed):
        super().__init__(number)
        self.number = number
        self.needed = needed


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("v"),
        KeyError("k"),
        OSError(2, "gone"),
        UnicodeDecodeError("utf8", b"x", 0, 1, "bad"),
        StopIteration(1),
        SystemError(),
        MemoryError(),
        Picky(3, needed=4),
        exceptions.WorkerCrashedError(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_as_instance_of_the_cause(cause):
    error = task_error(cause).as_instanceof_cause()
    assert isinstance(error, type(cause)) and isinstance(error, exceptions.RayTaskError)
    assert type(error).__name__ == f"RayTaskError({type(cause).__name__})"
    assert error.cause is cause and error.args == (cause,)
    assert str(error).startswith("ray::f() (pid=42, ip=10.0.0.1)\n  File")
    assert error.as_instanceof_cause() is error


def test_one_class_per_cause():
    assert type(task_error(KeyError(1)).as_instanceof_cause()) is type(task_error(KeyError(2)).as_instanceof_cause())


def test_attributes_come_from_the_cause():
    error = task_error(Picky(3, needed=4)).as_instanceof_cause()
    assert error.number == 3 and error.needed == 4
    with pytest.raises(AttributeError):
        error.no_such_thing  # noqa: B018


def test_a_plain_exception_needs_no_class_of_its_own():
    error = task_error(Exception("plain"))
    assert error.as_instanceof_cause() is error


def test_a_cause_that_cannot_be_rebuilt_keeps_its_text():
    class Broken(Exception):
        def __reduce__(self):
            return _fail, ()

    stored = cloudpickle.loads(cloudpickle.dumps(StoredTaskError(task_error(Broken("why")))))
    error = stored.restore()
    assert isinstance(error, exceptions.UnserializableException)
    assert "Broken: why" in str(error)


def _fail():
    raise RuntimeError("cannot be rebuilt")


def test_a_cause_that_cannot_be_pickled_keeps_its_text():
    class Locked(Exception):
        def __reduce__(self):
            raise TypeError("cannot pickle this")

    error = StoredTaskError(task_error(Locked("why"))).restore()
    assert isinstance(error, exceptions.RayTaskError)
    assert "Locked" in str(error.cause) and "cannot pickle this" in str(error.cause)
