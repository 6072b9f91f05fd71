# SPDX-License-Identifier: Apache-2.0
"""Calls between languages: C++ functions as remote functions of Python.

Arguments and results cross as plain values (None, bool, int, float, str, bytes, lists, dicts, numpy arrays,
ObjectRefs), errors as CrossLanguageError with the class and text of the C++ exception.
"""

import re

from ray_mpi import _core, _options, _template
from ray_mpi._remote import java_actor_class, java_function
from ray_mpi._worker import global_worker

__all__ = ["cpp_function", "java_actor_class", "java_function"]

_ANY_NUMBER = 1 << 40


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
        if kwargs:
            raise TypeError(f"Cross language remote functions does not support kwargs, kwargs:{kwargs}.")

    def _prepare(self, caller):
        if not global_worker.job_config.get("cpp_worker"):
            raise ValueError(
                f"the C++ function {self._name} has no library to be found in: name folders or .so files with "
                "ray.init(job_config=ray.job_config.JobConfig(code_search_path=[...]))"
            )
        _core.bind(caller, _template.of_task(_CppCode(self._name), self._options))

    def __reduce__(self):
        return CppFunction, (self._name, self._options)

    def __repr__(self):
        return f"<ray.cross_language.CppFunction {self._name}>"


def cpp_function(function_name):
    """The C++ function of this name, as it stands in RAY_REMOTE, e.g. "Plus" or "RAY_FUNC(geo::Area, double)"."""
    if not isinstance(function_name, str) or not function_name.strip():
        raise TypeError(f"cpp_function() wants the name that stands in RAY_REMOTE, not {function_name!r}")
    return CppFunction(_normal_name(function_name), {})


def _normal_name(text):
    """The name without what people write differently: spaces, a leading & or ::."""
    name = re.sub(r"(?<!\w) +| +(?!\w)", "", re.sub(r"\s+", " ", text.strip()))
    return name.removeprefix("&").removeprefix("::")
