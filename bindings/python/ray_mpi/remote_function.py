# SPDX-License-Identifier: Apache-2.0
"""@ray.remote on functions.

`f.remote` is a C-level Caller made per (function, options): it knows how many arguments need no check, and
holds the prepared template. What is rare is here: exporting the function, options, arguments that do not fit.
"""

import functools
import inspect
import os
import threading

from ray_mpi import _core, _options, _serialization, _template


class _Shape:
    """The parameters of a function without their defaults' values: small, and always picklable."""

    def __init__(self, parameters):
        self.parameters = parameters  # [(name, kind, has_default)]
        positional = [
            p
            for p in parameters
            if p[1] in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        ]
        self.max_args = len(positional)
        self.min_args = sum(1 for p in positional if not p[2])
        if any(p[1] == inspect.Parameter.VAR_POSITIONAL for p in parameters):
            self.max_args = 1 << 40
        if any(p[1] == inspect.Parameter.KEYWORD_ONLY and not p[2] for p in parameters):
            self.max_args = -1  # some keyword is needed: look at every call

    @classmethod
    def of(cls, function):
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions have none: the worker will tell
            return cls(
                [("args", inspect.Parameter.VAR_POSITIONAL, False), ("kwargs", inspect.Parameter.VAR_KEYWORD, False)]
            )
        return cls([(p.name, p.kind, p.default is not p.empty) for p in signature.parameters.values()])

    def check(self, args, kwargs):
        """TypeError as a plain call would raise it."""
        empty = inspect.Parameter.empty
        inspect.Signature(
            [
                inspect.Parameter(name, kind, default=None if has_default else empty)
                for name, kind, has_default in self.parameters
            ],
            __validate_parameters__=False,
        ).bind(*args, **kwargs)


class _Code:
    """The function itself, shared by all its wrappers: pickled and exported once per session."""

    what = "function"

    language = 1  # TaskTemplate::language of the runtime

    def __init__(self, function, shape):
        self._function = function
        self.shape = shape
        self.name = function.__name__
        self.full_name = f"{function.__module__}.{function.__qualname__}"
        self._lock = threading.RLock()
        self._epoch = 0
        self._id = None
        self._foreign_id = None  # (run, id): exported by the process that we came from

    @property
    def function(self):
        if self._function is None:
            self._function = _serialization.loads(_core.import_bytes(self._foreign_id[1]), [])
        return self._function

    def export(self):
        """The function's id in this session; its bytes are on their way before any task that names it."""
        with self._lock:
            epoch = _core.epoch()
            if self._epoch == epoch:
                return self._id
            if self._foreign_id is not None and self._foreign_id[0] == _core.run_id():
                self._epoch, self._id = epoch, self._foreign_id[1]
                return self._id
            function = self.function
            previous = self._epoch, self._id
            # Set first: the function may refer to itself, through its own remote form.
            self._epoch, self._id = epoch, f"fn:{_core.job_id()}:{os.urandom(16).hex()}"
            try:
                body = _core.call_pinning_refs(functools.partial(self._pickle, function))
            except BaseException:
                self._epoch, self._id = previous
                raise
            _core.export_bytes(self._id, body)
            return self._id

    def _pickle(self, function):
        try:
            return _serialization.dumps_inband(function)
        except Exception as error:
            raise TypeError(_serialization.explain(f"the {self.what} {self.full_name}", function, error)) from error

    def __getstate__(self):
        state = {"shape": self.shape, "name": self.name, "full_name": self.full_name, "_id": None, "_epoch": 0}
        if _core.connected():
            return {**state, "_function": None, "_foreign_id": (_core.run_id(), self.export())}
        return {**state, "_function": self._function, "_foreign_id": self._foreign_id}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = threading.RLock()


class RemoteFunction:
    """A function that runs in a worker: call it with f.remote(...)."""

    def __init__(self, function, options, code=None):
        if code is None:
            function = _checked(function)
            code = _Code(function, _Shape.of(function))
        self._code = code
        self._default_options = dict(options)
        if options.get("num_gpus") and "max_calls" not in options:
            # Ray's rule: what a process holds on a GPU is free when it ends, so it ends after the task.
            self._default_options["max_calls"] = 1
        self._generator = _options.is_generator(function)
        if function is not None:
            _options.check_streams(options, self._generator)
        self.remote = _core.Caller(self, code.shape.min_args, code.shape.max_args)

    def __call__(self, *args, **kwargs):
        name = self._code.full_name
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of running '{name}()', try '{name}.remote()'."
        )

    def options(self, **task_options):
        """The same function with other options; see ray.remote for the words."""
        _options.validate_task_options(task_options, in_options=True)
        merged = _options.update_options(self._default_options, task_options)
        _options.validate_task_options({k: v for k, v in merged.items() if k != "max_calls"}, in_options=False)
        _options.check_streams(merged, self._generator)
        return FunctionWithOptions(self, merged)

    def bind(self, *args, **kwargs):
        raise NotImplementedError(f"bind() (graphs of tasks, ray.dag) {_template.NOT_YET}")

    def _remote(self, args=None, kwargs=None, **task_options):
        target = self.options(**task_options) if task_options else self
        return target.remote(*(args or ()), **(kwargs or {}))

    @property
    def _function(self):
        return self._code.function

    @property
    def _function_name(self):
        return self._code.full_name

    # ---- called by the Caller
    def _check(self, args, kwargs):
        self._code.shape.check(args, kwargs)

    def _prepare(self, caller):
        _core.bind(caller, _template.of_task(self._code, self._default_options, self._generator))

    def __reduce__(self):
        return _rebuild, (self._code, self._default_options, self._generator)

    def __repr__(self):
        return f"<ray.remote_function.RemoteFunction {self._code.full_name}>"


class FunctionWithOptions:
    """What f.options(...) returns."""

    def __init__(self, function, options):
        self._remote_function = function
        self._options = options
        shape = function._code.shape
        self.remote = _core.Caller(self, shape.min_args, shape.max_args)

    def bind(self, *args, **kwargs):
        return self._remote_function.bind(*args, **kwargs)

    def _check(self, args, kwargs):
        self._remote_function._check(args, kwargs)

    def _prepare(self, caller):
        function = self._remote_function
        return _core.bind(caller, _template.of_task(function._code, self._options, function._generator))

    def __reduce__(self):
        return FunctionWithOptions, (self._remote_function, self._options)


def _rebuild(code, options, generator):
    function = RemoteFunction(None, options, code)
    function._generator = generator
    return function


def _checked(function):
    if inspect.iscoroutinefunction(function):
        raise ValueError(
            "'async def' should not be used for remote tasks. You can wrap the async function with `asyncio.run(f())`."
        )
    return function
