# SPDX-License-Identifier: Apache-2.0
"""@ray.remote on classes: creating actors, handles on them, calling their methods.

A handle is an ObjectRef of the object that stands for the actor, and what its class looks like from outside. All
handles on actors of one class share that, and the prepared templates of the methods.
"""

import importlib
import inspect
import json

from ray_mpi import _core, _options, _serialization
from ray_mpi._ids import ActorID
from ray_mpi._template import NOT_YET, of_creation, of_method
from ray_mpi._worker import global_worker
from ray_mpi.remote_function import RemoteFunction, _Code, _Shape

_ANY_ARGUMENTS = _Shape(
    [("args", inspect.Parameter.VAR_POSITIONAL, False), ("kwargs", inspect.Parameter.VAR_KEYWORD, False)]
)
ASYNC_CONCURRENCY = 1000  # calls that run at once in an actor with async methods, unless max_concurrency says otherwise
# Every actor has these: when the constructor is done; exit after the calls before; call fn(actor, ...).
_IMPLICIT_METHODS = ("__ray_ready__", "__ray_terminate__", "__ray_call__")
DECORATOR_OPTIONS = (
    "num_returns", "concurrency_group", "max_task_retries", "retry_exceptions", "enable_task_events",
    "_generator_backpressure_num_objects", "_num_objects_per_yield", "tensor_transport",
)  # fmt: skip
_MOST_CODES = 256  # of one class, by options: a program may name each call differently
_METHOD_OPTIONS = (*DECORATOR_OPTIONS, "name")


class ActorExit(SystemExit):
    """Raised by exit_actor() through the running method."""


def exit_actor():
    """End the actor that runs this, on purpose: it is not restarted, and its calls fail with ActorDiedError."""
    if not _core.connected() or _core.current_actor() is None:
        raise TypeError("exit_actor called on a non-actor worker.")
    raise ActorExit(0)


# ---- classes --------------------------------------------------------------------------------------------------------


class _Methods:
    """What callers know about a class: its name, its methods and their options."""

    def __init__(self, class_id, class_name, methods):
        self.class_id = class_id
        self.class_name = class_name
        self.methods = methods  # name -> (shape, {option: value})
        self._codes = {}

    def code(self, name, options):
        key = (name, *sorted(options.items()))
        try:
            return self._codes[key]
        except (KeyError, TypeError):  # TypeError: an option that cannot be a key
            pass
        code = self._new_code(name, options)
        if len(self._codes) >= _MOST_CODES:
            self._codes.clear()  # those in use live on in their methods
        try:
            self._codes[key] = code
        except TypeError:
            pass
        return code

    def _new_code(self, name, options):
        return _MethodCode(self, name, options)


_known = {}  # class id -> _Methods


def _methods_of(class_id):
    if class_id not in _known:
        _known[class_id] = _load_methods(class_id)
    return _known[class_id]


def _load_methods(class_id):
    if class_id.startswith("cpp:"):
        from ray_mpi.cross_language import CppMethods

        return CppMethods(class_id)
    if class_id.startswith("py:"):  # a program in another language named it
        cls = named_target(class_id)
        return _Methods(class_id, cls.__name__, _collect_methods(cls))
    class_name, methods = _serialization.loads(_core.import_bytes(class_id + ":methods"), [])
    return _Methods(class_id, class_name, methods)


def named_target(function_id):
    """The plain function or class that another language names "py:<module>:<name>"."""
    _, module, name = function_id.split(":")
    target = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    if isinstance(target, RemoteFunction):
        target = target._function
    if isinstance(target, ActorClass):
        target = target.__ray_actor_class__
    if not callable(target):
        raise TypeError(f"{module}.{name} is a {type(target).__name__} and cannot be called")
    return target


def _collect_methods(cls):
    methods = dict.fromkeys(_IMPLICIT_METHODS, (_ANY_ARGUMENTS, {}))
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        bound = not isinstance(member, staticmethod)
        function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        if name == "__init__" or not (inspect.isfunction(function) or _is_cython(function)):
            continue
        shape = _Shape.of(function)
        options = {
            word: getattr(function, f"__ray_{word}__") for word in DECORATOR_OPTIONS if hasattr(function, f"__ray_{word}__")
        }
        if _options.is_generator(function):
            options["generator"] = True
        methods[name] = (_Shape(shape.parameters[1:]) if bound else shape, options)
    return methods


def is_async_class(cls):
    """Whether some method is async: then all run in one event loop."""
    members = (inspect.getattr_static(cls, name) for name in dir(cls))
    functions = (getattr(member, "__func__", member) for member in members)
    return any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in functions)


def _is_cython(function):
    return type(function).__name__ == "cython_function_or_method"


class _ClassCode(_Code):
    """The class, pickled and exported once per session, with a description of its methods beside it."""

    what = "actor class"

    def __init__(self, cls):
        constructor = inspect.getattr_static(cls, "__init__", None)
        parameters = _Shape.of(constructor).parameters[1:] if inspect.isfunction(constructor) else []
        super().__init__(cls, _Shape(parameters))
        _collect_methods(cls)  # for its errors

    def export(self):
        class_id = super().export()
        if class_id not in _known and class_id != (self._foreign_id or (0, None))[1]:
            methods = _collect_methods(self.function)
            _known[class_id] = _Methods(class_id, self.name, methods)
            _core.export_bytes(class_id + ":methods", _serialization.dumps_inband((self.name, methods)))
        return class_id


class ActorClass:
    """A class whose instances are actors: make one with Class.remote(...)."""

    def __init__(self, cls, options, code=None):
        self._code = _ClassCode(cls) if code is None else code
        self._options = options
        self._creation = _core.Caller(_CreationCode(self._code, options), 0, 0)
        self.__doc__ = cls.__doc__ if cls is not None else None

    @property
    def __ray_actor_class__(self):
        return self._code.function

    def remote(self, *args, **kwargs):
        """Create an actor; returns its handle at once.

        Raises TypeError for arguments that the constructor does not take, ValueError for a name that is taken.
        """
        self._code.shape.check(args, kwargs)
        return self._create(args, kwargs)

    def options(self, **actor_options):
        """The same class with other options; see ray.remote for the words."""
        merged = _options.update_options(self._options, actor_options)
        _options.validate_actor_options(actor_options, in_options=True)
        _options.validate_actor_options(merged, in_options=False)
        return ActorClass(None, merged, self._code)

    def _remote(self, args=None, kwargs=None, **actor_options):
        target = self.options(**actor_options) if actor_options else self
        return target.remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args, **kwargs):
        raise NotImplementedError(f"bind() (graphs of actors, ray.dag) {NOT_YET}")

    def _create(self, args, kwargs):
        from ray_mpi import _worker, exceptions

        _worker.auto_init()
        options = self._options
        name, where = _name_of(options)
        self._check_creation()
        handle_options = {
            "max_task_retries": options.get("max_task_retries") or 0,
            "max_pending_calls": options.get("max_pending_calls", -1),
            "ordered": self._ordered(),
        }
        about = b"" if name is None else _about(self._class_id(), handle_options)
        lifetime = options.get("lifetime") or global_worker.job_config.get("actor_lifetime")
        detached = lifetime == "detached"
        ref, taken = _core.create_actor(self._creation, args, kwargs, name or "", where, about, detached)
        if taken is None:
            return ActorHandle(ref, _methods_of(self._class_id()), handle_options)
        if not options.get("get_if_exists"):
            raise exceptions.ActorAlreadyExistsError(
                f"The name {name} (namespace={where}) is already taken. Please use a different name or get the "
                f"existing actor using ray.get_actor('{name}', namespace='{where}')"
            )
        return _handle_from(ref, taken)

    def _check_creation(self):
        """Raise for options that do not go together, or not with the class."""
        _options.check_creation(self._options)
        if self._options.get("allow_out_of_order_execution") is False and self._concurrent():
            raise ValueError(
                "The calls of actors that are async or have max_concurrency > 1 are not executed in order: "
                "allow_out_of_order_execution cannot be False."
            )
        known = [name for name, _ in _options.concurrency_groups(self._options)]
        for method, (_, options) in _methods_of(self._class_id()).methods.items():
            group = options.get("concurrency_group")
            if "concurrency_group" in options and group not in known:
                raise AssertionError(
                    f"{self._code.name}.{method} is of concurrency group {group!r}, which "
                    f"@ray.remote(concurrency_groups=...) does not declare: {known}"
                )

    def _concurrent(self):
        """Whether several calls run at once."""
        return (self._options.get("max_concurrency") or 1) > 1 or is_async_class(self._code.function)

    def _class_id(self):
        return self._code.export()

    def _ordered(self):
        """Whether calls of one caller start in their order."""
        return not self._options.get("allow_out_of_order_execution") and not self._concurrent()

    def __call__(self, *args, **kwargs):
        name = self._code.name
        raise TypeError(f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'.")

    def __reduce__(self):
        return ActorClass, (None, self._options, self._code)

    def __repr__(self):
        return f"<ray.actor.ActorClass({self._code.name})>"


def _name_of(options):
    """(name or None, namespace) of a new actor."""
    name = options.get("name")
    if name == "":
        raise ValueError("Actor name cannot be an empty string.")
    if options.get("get_if_exists") and name is None:
        raise ValueError("The actor name must be specified to use `get_if_exists`.")
    where = options.get("namespace")
    if where == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    return name, where or global_worker.namespace or ""


class _CreationCode:
    """Binds the template of creations of one class with one set of options."""

    def __init__(self, code, options):
        self._code = code
        self._options = options

    def _prepare(self, caller):
        groups = _options.concurrency_groups(self._options)
        _core.bind(caller, of_creation(self._code, self._options, *_name_of(self._options), groups))


# ---- handles --------------------------------------------------------------------------------------------------------


class ActorHandle:
    """A reference to an actor. The actor lives as long as some process has a handle on it, or a call to it pending."""

    def __init__(self, ref, methods, options):
        self._ref = ref
        self._methods = methods
        self._options = options

    def __getattr__(self, name):
        found = self.__dict__["_methods"].methods.get(name) if "_methods" in self.__dict__ else None
        if found is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        method = ActorMethod(self._ref, self._methods, name, self._options, found[1])
        self.__dict__[name] = method
        return method

    def __dir__(self):
        return [*super().__dir__(), *self._methods.methods]

    @property
    def _actor_id(self):
        return ActorID(_core.actor_id_of(self._ref))

    @property
    def _ray_actor_id(self):
        return self._actor_id

    def __eq__(self, other):
        return isinstance(other, ActorHandle) and self._ref == other._ref

    def __hash__(self):
        return hash(self._ref)

    def __repr__(self):
        return f"Actor({self._methods.class_name}, {self._actor_id.hex()})"

    def __reduce__(self):
        return _rebuild_handle, (self._ref, self._methods.class_id, self._options)


def _rebuild_handle(ref, class_id, options):
    return ActorHandle(ref, _methods_of(class_id), options)


def _about(class_id, options):
    """What the head keeps of a named actor, for finders in all languages."""
    return json.dumps({"class_id": class_id, "options": options}).encode()


def _handle_from(ref, about):
    about = json.loads(about)
    return _rebuild_handle(ref, about["class_id"], about["options"])


def foreign_parts(value):
    """(ref, ordered, class id) of a handle that goes into a value for another language; None: it is none."""
    if not isinstance(value, ActorHandle):
        return None
    return value._ref, value._options["ordered"], value._methods.class_id


def foreign_handle(ref, ordered, class_id):
    """The handle of such parts."""
    options = {"max_task_retries": 0, "max_pending_calls": -1, "ordered": ordered}
    return _rebuild_handle(ref, class_id, options)


class _MethodCode:
    """One method with one set of options: checks arguments, prepares the template that all its callers share."""

    def __init__(self, methods, name, options):
        self._name = name
        self._class_name = methods.class_name
        self._options = options
        self.shape = methods.methods[name][0]
        self._shared = None

    def _check(self, args, kwargs):
        self.shape.check(args, kwargs)

    def _prepare(self, caller):
        if caller is self._shared:
            _core.bind(caller, self._template())
            return
        if self._shared is None:
            self._shared = _core.Caller(self, self.shape.min_args, self.shape.max_args)
        _core.bind_like(caller, self._shared)

    def _template(self):
        return of_method(self._class_name, self._name, self._options)


class ActorMethod:
    """A method of an actor: call it with handle.method.remote(...)."""

    def __init__(self, ref, methods, name, handle_options, own_options):
        self._where = ref, methods, handle_options
        self._method_name = name
        self._own = own_options
        options = {
            **own_options,
            "ordered": handle_options["ordered"],
            "max_task_retries": own_options.get("max_task_retries", handle_options["max_task_retries"]),
        }
        code = methods.code(name, options)
        # The Caller must not lead back here: a handle that nobody has ends its actor at once.
        self.remote = _core.Caller(
            code, code.shape.min_args, code.shape.max_args, ref, handle_options["max_pending_calls"] or -1
        )

    def options(self, **method_options):
        """The same method with other options: num_returns, name, concurrency_group, max_task_retries, ..."""
        for word in method_options:
            if word not in _METHOD_OPTIONS:
                raise TypeError(f"unexpected keyword {word!r} for an actor's method. Valid ones are {list(_METHOD_OPTIONS)}.")
        _options.validate_method_options(method_options)
        _options.check_streams(method_options, self._own.get("generator"))
        ref, methods, handle_options = self._where
        return ActorMethod(ref, methods, self._method_name, handle_options, {**self._own, **method_options})

    def _remote(self, args=None, kwargs=None, **method_options):
        target = self.options(**method_options) if method_options else self
        return target.remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args, **kwargs):
        raise NotImplementedError(f"bind() (graphs of actors, ray.dag) {NOT_YET}")

    def __call__(self, *args, **kwargs):
        name = self._method_name
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of running 'object.{name}()', "
            f"try 'object.{name}.remote()'."
        )


# ---- ray.kill, ray.get_actor ----------------------------------------------------------------------------------------


def kill(actor, *, no_restart=True):
    """End an actor's process at once: no atexit, no pending calls. no_restart=False: it may be restarted.

    Returns before it is dead. ValueError if `actor` is no handle.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"ray.kill() only supported for actors. For tasks, try ray.cancel(). Got: {type(actor)}.")
    _core.kill_actor(actor._ref, no_restart)


def get_actor(name, namespace=None):
    """A handle on the actor of this name in this namespace (None: the job's). ValueError if there is none."""
    from ray_mpi import _worker

    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    _worker.auto_init()
    found = _core.find_actor(namespace or global_worker.namespace or "", name)
    if found is None:
        raise ValueError(
            f"Failed to look up actor with name '{name}'. This could because 1. You are trying to look up a named "
            "actor you didn't create. 2. The named actor died. 3. You did not use a namespace matching the namespace "
            "of the actor."
        )
    return _handle_from(*found)


def list_named_actors(all_namespaces=False):
    """The names of the job's namespace; or [{"name":.., "namespace":..}] of all."""
    from ray_mpi import _worker

    _worker.auto_init()
    if all_namespaces:
        return [{"name": name, "namespace": where} for where, name in _core.list_actors(None)]
    return [name for _, name in _core.list_actors(global_worker.namespace or "")]
