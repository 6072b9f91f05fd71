# SPDX-License-Identifier: Apache-2.0
"""@ray.remote, and the names of Ray's interface that say what is not there yet."""

import inspect
from types import FunctionType

from ray_mpi import _options
from ray_mpi._template import NOT_YET
from ray_mpi.remote_function import RemoteFunction


def remote(*args, **kwargs):
    """Make a function remote: @ray.remote, or @ray.remote(num_cpus=2, num_returns=3, ...).

    The words: num_cpus, num_gpus, memory, resources, accelerator_type, name, num_returns, max_retries,
    retry_exceptions, max_calls, scheduling_strategy, enable_task_events, runtime_env,
    label_selector, fallback_strategy.
    """
    if len(args) == 1 and not kwargs and (inspect.isclass(args[0]) or _is_function(args[0])):
        return _make(args[0], {})
    if args or not kwargs:
        raise AssertionError(
            "The @ray.remote decorator must be applied either with no arguments and no parentheses, for example "
            "'@ray.remote', or it must be applied using some of the arguments in the list "
            f"{list(_options.valid_options)}, for example '@ray.remote(num_returns=2, "
            'resources={"CustomResource": 1})\'.'
        )
    return lambda target: _make(target, kwargs)


def _is_function(target):
    return isinstance(target, FunctionType) or type(target).__name__ == "cython_function_or_method"


def _make(target, options):
    if _is_function(target):
        _options.validate_task_options(options, in_options=False)
        return RemoteFunction(target, options)
    if inspect.isclass(target):
        return _actor_class(target, options)
    raise TypeError("The @ray.remote decorator must be applied to either a function or a class.")


def _actor_class(cls, options):
    from ray_mpi.actor import ActorClass

    _options.validate_actor_options(options, in_options=False)
    return ActorClass(cls, options)


def method(*args, **kwargs):
    """Options of an actor's method: num_returns, concurrency_group, max_task_retries, retry_exceptions, ..."""
    from ray_mpi.actor import DECORATOR_OPTIONS

    bare = len(args) == 1 and callable(args[0]) and not kwargs
    if args and not bare:
        raise AssertionError(
            "The @ray.method decorator must be applied using no arguments or at least one of the arguments in the list "
            f"{list(DECORATOR_OPTIONS)}, for example '@ray.method(num_returns=2)'."
        )
    for name in kwargs:
        if name not in DECORATOR_OPTIONS:
            raise AssertionError(
                f"Unexpected keyword argument to @ray.method: '{name}'. The supported keyword arguments are "
                f"{list(DECORATOR_OPTIONS)}"
            )
    _options.validate_method_options(kwargs)

    def annotate(function):
        _options.check_streams(kwargs, _options.is_generator(function))
        for name, value in kwargs.items():
            setattr(function, f"__ray_{name}__", value)
        return function

    return annotate(args[0]) if bare else annotate


def java_function(class_name, function_name):
    raise NotImplementedError(f"java_function(): Java {NOT_YET}")


def java_actor_class(class_name):
    raise NotImplementedError(f"java_actor_class(): Java {NOT_YET}")


def client(address=None, _deprecation_warn_enabled=True):
    raise NotImplementedError(f"ray.client(): the Ray client {NOT_YET}; run the program with ray-mpi instead")
