# SPDX-License-Identifier: Apache-2.0
"""What @ray.remote(...) and .options(...) accept: names, types, values, defaults, with Ray's errors."""

import inspect
import math
from numbers import Real

from ray_mpi import _labels

_NUMBER = (float, int, type(None))
_RESOURCE_STEP = 1e-4  # amounts are fixed point
# What comes in devices with ids: whole ones, or a part of one. Some cannot be shared at all.
UNIT_RESOURCES = ("GPU", "TPU", "NPU", "HPU", "neuron_cores", "RBLN", "FURIOSA", "MBLT", "TTNPU")
_WHOLE_RESOURCES = ("HPU", "neuron_cores", "RBLN", "MBLT", "TTNPU")
_TPU_CHIPS = (1, 2, 4, 8)


class Option:
    """One keyword: its types, a check that returns what is wrong with a value, and its default."""

    def __init__(self, types=None, check=None, default=None):
        self.types = types
        self.check = check
        self.default = default

    def validate(self, keyword, value):
        if self.types is not None and not isinstance(value, self.types):
            raise TypeError(f"The type of keyword '{keyword}' must be {self.types}, but received type {type(value)}")
        if self.check is not None:
            wrong = self.check(value)
            if wrong:
                raise ValueError(wrong)


def _amount_error(name, value):
    if value is None:
        return None
    if math.isinf(value):
        raise OverflowError(f"The quantity of resource {name} cannot be infinite")
    if math.isnan(value) or value < 0:
        return f"The quantity of resource {name} cannot be negative"
    if value > 0 and round(value / _RESOURCE_STEP) * _RESOURCE_STEP < _RESOURCE_STEP:
        return f"The precision of the fractional quantity of resource {name} cannot go beyond {_RESOURCE_STEP}"
    return None


def _amount(name):
    return Option(_NUMBER, lambda value: _amount_error(name, value))


def _resources_error(value):
    if value is None:
        return None
    if "CPU" in value or "GPU" in value:
        return "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in 'resources' keyword"
    for name, amount in value.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a resource is a string, not {name!r}")
        if not isinstance(amount, Real):
            raise TypeError(f"The quantity of resource {name} must be a number, not {amount!r}")
        wrong = _amount_error(name, amount) or _devices_error(name, amount)
        if wrong:
            return wrong
    return None


def _devices_error(name, amount):
    if name == "TPU" and amount not in _TPU_CHIPS:
        return (
            f"The number of requested 'TPU' was set to {amount} which is not a supported chip configuration. "
            f"Supported configs: {_TPU_CHIPS}"
        )
    if name in _WHOLE_RESOURCES and amount != int(amount):
        return f"{name} resource quantity must be whole numbers. The specified quantity {amount} is invalid."
    return None


def _retry_exceptions_error(value):
    if isinstance(value, bool):
        return None
    for item in value:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            return f"The keyword 'retry_exceptions' must be a boolean or a list of exceptions, but it contains {item!r}"
    return None


class _NumReturns(Option):
    def validate(self, keyword, value):
        if value is None or value in ("dynamic", "streaming"):
            return
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(
                "The type of keyword 'num_returns' must be an integer, 'dynamic' or 'streaming', "
                f"but received {value!r} of type {type(value)}"
            )
        if value < 0:
            raise ValueError(
                "The keyword 'num_returns' only accepts None, a non-negative integer, 'dynamic' or 'streaming'"
            )


class _Strategy(Option):
    def validate(self, keyword, value):
        from ray_mpi.util import scheduling_strategies as known

        if value is None or isinstance(value, known.CLASSES):
            return
        if not isinstance(value, str):
            raise TypeError(
                f"The type of keyword 'scheduling_strategy' must be a string or a strategy, but received {type(value)}"
            )
        if value not in ("DEFAULT", "SPREAD"):
            raise ValueError(f"scheduling_strategy must be 'DEFAULT', 'SPREAD' or a strategy object, not {value!r}")


def _at_least(keyword, least):
    def wrong(value):
        if value is not None and value < least:
            return f"The keyword '{keyword}' only accepts an integer of at least {least}, not {value}"
        return None

    return wrong


def _count(keyword, infinite=True):
    """A number of times, or None; -1 for no limit."""

    def wrong(value):
        if value is not None and value < (-1 if infinite else 0):
            words = "0, -1 or a positive integer, where -1 represents infinity" if infinite else "0 or a positive integer"
            return f"The keyword '{keyword}' only accepts None, {words}."
        return None

    return Option((int, type(None)), wrong)


def _forbidden(value):
    if value is not None:
        return "Setting 'object_store_memory' is not implemented for tasks"
    return None


def _lifetime_error(value):
    if value not in (None, "detached", "non_detached"):
        return "actor `lifetime` argument must be one of 'detached', 'non_detached' and 'None'."
    return None


def _positive_or_off(keyword):
    def wrong(value):
        if value is not None and value <= 0 and value != -1:
            return f"{keyword}={value} is not allowed: it is a positive number, or -1 to switch it off"
        return None

    return Option((int, type(None)), wrong)


def _group_error(value):
    from ray_mpi.util.placement_group import PlacementGroup

    if not isinstance(value, (PlacementGroup, str, type(None))):
        raise TypeError(
            f"The type of keyword 'placement_group' must be a PlacementGroup, a string or None, but received {type(value)}"
        )
    return None


def _one_way_to_groups(options):
    if options.get("placement_group", "default") not in ("default", None) and options.get("scheduling_strategy"):
        raise ValueError(
            "Placement groups should be specified via the scheduling_strategy option. "
            "The placement_group option is deprecated."
        )


_COMMON = {
    "label_selector": Option((dict, type(None)), _labels.selector_error),
    "fallback_strategy": Option((list, type(None)), _labels.fallback_error),
    "accelerator_type": Option((str, type(None))),
    "memory": _amount("memory"),
    "name": Option((str, type(None))),
    "num_cpus": _amount("num_cpus"),
    "num_gpus": _amount("num_gpus"),
    "object_store_memory": Option((int, float, type(None)), _forbidden),
    "placement_group": Option(check=_group_error, default="default"),
    "placement_group_bundle_index": Option(int, default=-1),
    "placement_group_capture_child_tasks": Option((bool, type(None))),
    "resources": Option((dict, type(None)), _resources_error),
    "runtime_env": Option((dict, type(None))),
    "scheduling_strategy": _Strategy(),
    "enable_task_events": Option(bool, default=True),
    "_labels": Option((dict, type(None))),
}
_TASK_ONLY = {
    "max_calls": Option(int, _at_least("max_calls", 0), 0),
    "max_retries": Option((int, type(None)), _at_least("max_retries", -1), 3),
    "num_returns": _NumReturns(),
    "retry_exceptions": Option((bool, list, tuple), _retry_exceptions_error, False),
    "_generator_backpressure_num_objects": _positive_or_off("_generator_backpressure_num_objects"),
    "_num_objects_per_yield": Option((int, type(None))),
}
_ACTOR_ONLY = {
    "object_store_memory": Option((int, float, type(None)), lambda value: _amount_error("object_store_memory", value)),
    "concurrency_groups": Option((list, dict, type(None))),
    "enable_tensor_transport": Option((bool, type(None))),
    "lifetime": Option((str, type(None)), _lifetime_error),
    "max_concurrency": _count("max_concurrency", infinite=False),
    "max_restarts": _count("max_restarts"),
    "max_task_retries": _count("max_task_retries"),
    "max_pending_calls": _count("max_pending_calls"),
    "namespace": Option((str, type(None))),
    "get_if_exists": Option(bool, default=False),
    "allow_out_of_order_execution": Option((bool, type(None))),
    "_actor_generator_backpressure_num_objects": _positive_or_off("_actor_generator_backpressure_num_objects"),
}
task_options = {**_COMMON, **_TASK_ONLY}
actor_options = {**_COMMON, **_ACTOR_ONLY}
valid_options = {**_COMMON, **_TASK_ONLY, **_ACTOR_ONLY}


def _validate(what, known, options, in_options, decorator_only):
    """Raise for a keyword that is not known, and for a value that it does not take."""
    for keyword, value in options.items():
        if keyword not in known:
            raise ValueError(f"Invalid option keyword {keyword} for {what}. Valid ones are {list(known)}.")
        known[keyword].validate(keyword, value)
    if in_options and decorator_only in options:
        raise ValueError(f"Setting '{decorator_only}' is not supported in '.options()'.")


def validate_task_options(options, in_options):
    """Raise for what a remote function does not take. in_options: from .options(), not from the decorator."""
    _validate("remote functions", task_options, options, in_options, "max_calls")
    _one_way_to_groups(options)


def validate_actor_options(options, in_options):
    """The same for actor classes."""
    _validate("actors", actor_options, options, in_options, "concurrency_groups")
    _one_way_to_groups(options)
    if options.get("get_if_exists") and not in_options and options.get("name") is None:
        raise ValueError("The actor name must be specified to use `get_if_exists`.")


def check_streams(options, generator):
    """Refuse to stream what is no generator."""
    num_returns = options.get("num_returns")
    if num_returns in ("streaming", "dynamic") and not generator:
        raise ValueError(
            f"num_returns={num_returns!r} can only be used with generator functions (functions that use 'yield'). "
            "The decorated function is not a generator function."
        )


def is_generator(function):
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def validate_method_options(options):
    """The same for the methods of actors, those of .options() and of @ray.method."""
    if not isinstance(options.get("retry_exceptions"), (bool, list, tuple, type(None))):
        raise AssertionError("retry_exceptions can either be boolean or a list or tuple of exception types.")
    if options.get("tensor_transport", "object_store") not in (None, "object_store", "OBJECT_STORE"):
        raise ValueError(f"Invalid tensor transport: {options['tensor_transport']}. There is 'object_store' only.")
    for keyword in ("num_returns", "name", "_generator_backpressure_num_objects"):
        if keyword in options:
            task_options[keyword].validate(keyword, options[keyword])
    if "max_task_retries" in options:
        actor_options["max_task_retries"].validate("max_task_retries", options["max_task_retries"])
    wrong = _retry_exceptions_error(options.get("retry_exceptions") or False)
    if wrong:
        raise ValueError(wrong)
    if not isinstance(options.get("concurrency_group"), (str, type(None))):
        raise TypeError(f"concurrency_group is the name of one, a string, not {options['concurrency_group']!r}")


def check_creation(options):
    """What Ray refuses when an actor is made, not when its options are written down."""
    for keyword in ("max_restarts", "max_task_retries", "max_pending_calls"):
        if keyword in options and options[keyword] is None:
            raise TypeError(f"{keyword}: an integer is required, not None")


def concurrency_groups(options):
    """[(name, how many of its calls run at once)] of a new actor, with Ray's errors."""
    groups = options.get("concurrency_groups") or {}
    if not isinstance(groups, dict):
        raise TypeError(f"concurrency_groups is a dict, name: limit, not {groups!r}")
    out = []
    for name, most in groups.items():
        if not isinstance(name, str) or not isinstance(most, Real):
            raise TypeError(f"concurrency_groups is a dict, name: limit; there is {name!r}: {most!r}")
        if most < 0:
            raise OverflowError(f"the limit of concurrency group '{name}' is negative: {most}")
        if int(most) == 0:
            raise ValueError(f"the limit of concurrency group '{name}' is 0: no call of it could run")
        out.append((name, int(most)))
    return out


def default_of(keyword):
    return task_options[keyword].default


def update_options(old, new):
    """The options of a wrapper made by .options(): the newer ones win."""
    return {**old, **new}


def task_resources(options):
    """The sorted [(name, amount)] that a task needs; zero amounts are left out. ValueError: one and a half GPUs."""
    amounts = dict(options.get("resources") or {})
    if "memory" in amounts or "object_store_memory" in amounts:
        raise ValueError("The resources dictionary must not contain the key 'memory' or 'object_store_memory'")
    cpus = options.get("num_cpus")
    amounts["CPU"] = 1 if cpus is None else cpus
    amounts["GPU"] = options.get("num_gpus") or 0
    amounts["memory"] = int(options.get("memory") or 0)
    for name in UNIT_RESOURCES:
        amount = amounts.get(name, 0)
        if amount > 1 and amount != int(amount):
            raise ValueError(
                f"{name} resource quantities >1 must be whole numbers. The specified quantity {amount} is invalid."
            )
    if options.get("accelerator_type"):
        amounts[f"accelerator_type:{options['accelerator_type']}"] = 0.001
    return sorted((name, float(amount)) for name, amount in amounts.items() if amount)


def actor_resources(options):
    """The same for an actor, for life: one CPU if it asks for anything but memory, and does not say how many."""
    if options.get("num_cpus") is not None:
        return task_resources(options)
    needs = task_resources({**options, "num_cpus": 0})
    if any(name != "memory" for name, _ in needs):
        return task_resources({**options, "num_cpus": 1})
    return needs
