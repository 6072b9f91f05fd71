# SPDX-License-Identifier: Apache-2.0
"""The error of a task: what get() raises for an exception of user code, an instance of both RayTaskError and the
class of its cause. ray_mpi.exceptions has the names."""

_TRACEBACK_HEAD = "Traceback (most recent call last):\n"


class RayError(Exception):
    """Base of everything that the runtime raises."""


class RayTaskError(RayError):
    """A task raised. `cause` is the exception itself; get() raises as_instanceof_cause() of this."""

    def __init__(
        self,
        function_name,
        traceback_str,
        cause,
        proctitle=None,
        pid=None,
        ip=None,
        actor_repr=None,
        actor_id=None,
    ):
        super().__init__(function_name, traceback_str, cause, proctitle, pid, ip)
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle or f"ray::{function_name.rpartition('.')[2]}()"
        self.pid = pid
        self.ip = ip
        self.actor_repr = actor_repr
        self._actor_id = actor_id

    @property
    def actor_id(self):
        return self._actor_id

    def __reduce__(self):
        return type(self), (
            self.function_name,
            self.traceback_str,
            self.cause,
            self.proctitle,
            self.pid,
            self.ip,
            self.actor_repr,
            self._actor_id,
        )

    def __str__(self):
        actor = f", actor_id={self._actor_id}, repr={self.actor_repr}" if self._actor_id else ""
        where = f"{self.proctitle} (pid={self.pid}, ip={self.ip}{actor})"
        return f"{where}\n{self.traceback_str.removeprefix(_TRACEBACK_HEAD)}".rstrip()

    def as_instanceof_cause(self):
        """An exception that is a RayTaskError and an instance of the cause's class."""
        cause_class = type(self.cause)
        if self.cause is None or issubclass(RayTaskError, cause_class):
            return self  # already what an except clause can name
        try:
            return _dual_class(cause_class)(self)
        except TypeError:
            return self  # a class that cannot be a base, or whose instances cannot be made like this


_dual_classes = {}
_HEAP_TYPE = 1 << 9  # of __flags__: a class made by a class statement


def _dual_class(cause_class):
    """The class RayTaskError(<cause's class>), derived from both; one per cause class."""
    existing = _dual_classes.get(cause_class)
    if existing is not None:
        return existing
    name = f"RayTaskError({cause_class.__name__})"

    def __init__(self, error):
        self.cause = error.cause
        self.args = (error.cause,)
        self._task_error = error

    def __getattr__(self, attribute):
        if attribute in ("cause", "_task_error"):  # not set yet
            raise AttributeError(attribute)
        try:
            return getattr(self.cause, attribute)
        except AttributeError:
            return getattr(self._task_error, attribute)

    body = {
        "__init__": __init__,
        "__getattr__": __getattr__,
        "__str__": lambda self: str(self._task_error),
        "__repr__": lambda self: f"{name}({self.cause!r})",
        "__reduce__": lambda self: (_rebuild_dual, (self._task_error,)),
        "__module__": RayTaskError.__module__,
        "__qualname__": name,
        "as_instanceof_cause": lambda self: self,
    }
    made = type(name, (RayTaskError, cause_class), body)
    # The cause's own __new__ may want arguments that nobody has. That of the built-in class whose layout the new
    # class has does not, and is the only one that CPython lets make its instances (MemoryError's may not).
    built_in = made
    while built_in.__flags__ & _HEAP_TYPE:
        built_in = built_in.__base__
    made.__new__ = lambda cls, *args: built_in.__new__(cls)
    _dual_classes[cause_class] = made
    return made


def _rebuild_dual(error):
    return error.as_instanceof_cause()
