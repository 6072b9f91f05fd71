# SPDX-License-Identifier: Apache-2.0
"""Calls between languages: C++ functions as remote functions of Python, C++ classes as actors.

Arguments and results cross as plain values (None, bool, int, float, str, bytes, lists, dicts, numpy arrays,
ObjectRefs), errors as CrossLanguageError with the class and text of the C++ exception.
"""

import re

from ray_mpi import _core, _options, _template
from ray_mpi._remote import java_actor_class, java_function
from ray_mpi._worker import auto_init, global_worker
from ray_mpi.actor import ActorClass, _MethodCode, _Methods

__all__ = ["cpp_actor_class", "cpp_function", "java_actor_class", "java_function"]

_ANY_NUMBER = 1 << 40


class _AnyArguments:
    """The shape of what only C++ knows; keywords it has none."""

    min_args, max_args = 0, _ANY_NUMBER

    @staticmethod
    def check(args, kwargs):
        if kwargs:
            raise TypeError(f"Cross language remote functions does not support kwargs, kwargs:{kwargs}.")


def _check_libraries(what):
    if not global_worker.job_config.get("cpp_worker"):
        raise ValueError(
            f"the {what} has no library to be found in: name folders or .so files with "
            "ray.init(job_config=ray.job_config.JobConfig(code_search_path=[...]))"
        )


class _CppCode:
    """What is fixed about a C++ function: its name is all."""

    language = 2

    def __init__(self, name):
        self.name = self.full_name = name

    def export(self):
        return f"cpp:{self.name}"


class CppFunction:
    """A C++ function that RAY_REMOTE names in a library of the code search path. Call it with f.remote(...)."""

    def __init__(self, name, options):
        self._name = name
        self._options = options
        self.remote = _core.Caller(self, 0, _ANY_NUMBER)

    def __call__(self, *args, **kwargs):
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of running '{self._name}()', "
            f"try '{self._name}.remote()'."
        )

    def options(self, **task_options):
        """The same function with other options: those of @ray.remote but num_returns and max_calls."""
        _options.validate_task_options(task_options, in_options=True)
        if task_options.get("num_returns", 1) not in (1, None):
            raise ValueError("num_returns: a C++ function has one result")
        if isinstance(task_options.get("retry_exceptions"), (list, tuple)):
            raise ValueError("retry_exceptions of a C++ function is True or False: its exceptions are no Python classes")
        return CppFunction(self._name, _options.update_options(self._options, task_options))

    # ---- called by the Caller
    def _check(self, args, kwargs):
        _AnyArguments.check(args, kwargs)

    def _prepare(self, caller):
        _check_libraries(f"C++ function {self._name}")
        _core.bind(caller, _template.of_task(_CppCode(self._name), self._options))

    def __reduce__(self):
        return CppFunction, (self._name, self._options)

    def __repr__(self):
        return f"<ray.cross_language.CppFunction {self._name}>"


class _CppClassCode:
    """What is fixed about an actor's class: the function that makes one, and the class's name."""

    language = 2
    shape = _AnyArguments

    def __init__(self, factory, name):
        self.factory = factory
        self.name = name

    def export(self):
        return f"cpp:{self.factory}"


class CppActorClass(ActorClass):
    """A C++ class whose instances are actors: make one with Class.remote(...)."""

    def __init__(self, factory, name, options):
        super().__init__(None, options, _CppClassCode(factory, name))

    def options(self, **actor_options):
        """The same class with other options; those of @ray.remote for classes."""
        merged = _options.update_options(self._options, actor_options)
        _options.validate_actor_options(actor_options, in_options=True)
        return CppActorClass(self._code.factory, self._code.name, merged)

    def _create(self, args, kwargs):
        auto_init()
        _check_libraries(f"C++ class {self._code.name}")
        return super()._create(args, kwargs)

    def _class_id(self):
        return f"cpp:{self._code.name}"

    def _concurrent(self):
        return (self._options.get("max_concurrency") or 1) > 1

    def __reduce__(self):
        return CppActorClass, (self._code.factory, self._code.name, self._options)

    def __repr__(self):
        return f"<ray.cross_language.CppActorClass {self._code.name}>"


class _AnyMethod(dict):
    """A class's methods: only C++ knows them."""

    def get(self, name, default=None):
        return default if name.startswith("_") else (_AnyArguments, {})

    def __missing__(self, name):
        return _AnyArguments, {}


class CppMethods(_Methods):
    """What callers know about a C++ class; "cpp:<class>" is its id."""

    def __init__(self, class_id):
        super().__init__(class_id, class_id.removeprefix("cpp:"), _AnyMethod())

    def _new_code(self, name, options):
        return _CppMethodCode(self, name, options)


class _CppMethodCode(_MethodCode):
    def _template(self):
        if self._options.get("num_returns", 1) not in (1, None):
            raise ValueError("num_returns: a C++ method has one result")
        if self._options.get("concurrency_group"):
            raise ValueError("concurrency_group: an actor of C++ has none")
        if isinstance(self._options.get("retry_exceptions"), (list, tuple)):
            raise ValueError("retry_exceptions of a C++ method is True or False: its exceptions are no Python classes")
        name = self._name if self._name.startswith("RAY_FUNC(") else f"{self._class_name}::{self._name}"
        template = _template.of_method(self._class_name, self._name, self._options)
        return {**template, "function_id": f"cpp:{_normal_name(name)}", "function_name": name, "language": 2}


def cpp_actor_class(create_function_name, class_name):
    """The actors that a C++ function makes: its name, as it stands in RAY_REMOTE, e.g. "Counter::Create" or
    "RAY_FUNC(Counter::Create, int)"; and their class, as it stands there before the methods, e.g. "Counter".

    Methods are attributes of a handle: handle.Add.remote(1); an overloaded one is
    getattr(handle, "RAY_FUNC(&Counter::Add, int)").
    """
    for name in (create_function_name, class_name):
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"cpp_actor_class() wants the names that stand in RAY_REMOTE, not {name!r}")
    return CppActorClass(_normal_name(create_function_name), _normal_name(class_name), {})


def cpp_function(function_name):
    """The C++ function of this name, as it stands in RAY_REMOTE, e.g. "Plus" or "RAY_FUNC(geo::Area, double)"."""
    if not isinstance(function_name, str) or not function_name.strip():
        raise TypeError(f"cpp_function() wants the name that stands in RAY_REMOTE, not {function_name!r}")
    return CppFunction(_normal_name(function_name), {})


def _normal_name(text):
    """The name without what people write differently: spaces, a leading & or ::."""
    name = re.sub(r"(?<!\w) +| +(?!\w)", "", re.sub(r"\s+", " ", text.strip()))
    overload = "RAY_FUNC(" if name.startswith("RAY_FUNC(") else ""
    return overload + name.removeprefix(overload).removeprefix("&").removeprefix("::")
