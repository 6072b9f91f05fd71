# SPDX-License-Identifier: Apache-2.0
"""What the core is told about all calls of one function, class or method with one set of options: TaskTemplate of
runtime/worker/core_worker.h, as a dict."""

import json
import os

from ray_mpi import _labels, _options, _serialization

NOT_YET = "is not there yet in this version of ray-mpi"
_DEFAULTS = {
    "language": 1,
    "num_returns": 1,
    "max_retries": 0,
    "max_calls": 0,
    "stream": 0,
    "window": 0,
    "retry_exceptions": False,
    "retry_list": b"",
    "resources": [],
    "strategy": 0,
    "affinity_node": 0,
    "affinity_soft": False,
    "affinity_now": False,
    "labels": [],
    "creates_actor": False,
    "ordered": True,
    "concurrency_group": "",
    "group": 0,  # placement group
    "bundle": -1,
    "capture": False,
    "inherits": False,
}


def of_task(code, options, generator=False):
    """A remote function, in Python or another language."""
    get = lambda keyword: options.get(keyword, _options.default_of(keyword))  # noqa: E731
    _refuse("remote functions", options, ("runtime_env",))
    max_retries = get("max_retries")
    if max_retries is None:
        max_retries = _options.default_of("max_retries")
    if "max_retries" not in options:
        max_retries = int(os.environ.get("RAY_TASK_MAX_RETRIES", max_retries))
    resources = _options.task_resources(options)
    placement = _place(options, resources, 0, code.name)
    return {
        **_DEFAULTS,
        "function_id": code.export(),
        "function_name": code.full_name,
        "language": code.language,
        "name": get("name") or code.name,
        "max_retries": max_retries,
        "max_calls": get("max_calls"),
        "resources": resources,
        **_results(options, generator),
        **_retry_exceptions(options),
        "labels": _labels.alternatives(options),
        **_strategy(options.get("scheduling_strategy")),
        **placement,
    }


def of_creation(code, options, name, namespace, groups):
    """An actor's constructor. Its retries are the actor's restarts."""
    _refuse("actors", options, ("runtime_env", "enable_tensor_transport"))
    if options.get("_actor_generator_backpressure_num_objects") not in (None, -1):
        raise NotImplementedError(f"the option _actor_generator_backpressure_num_objects of actors {NOT_YET}")
    # An actor that asks for nothing needs no CPU while it runs. Such actors fill no node: they are spread.
    resources = _options.actor_resources(options)
    strategy = options.get("scheduling_strategy")
    unasked = all(options.get(word) is None for word in ("num_cpus", "num_gpus", "resources"))
    placement = _place(options, resources, 1 if unasked else 0, code.name)
    if not resources and strategy in (None, "DEFAULT"):
        strategy = "SPREAD"
    return {
        **_DEFAULTS,
        "function_id": code.export(),
        "function_name": code.name,
        "language": code.language,
        "name": code.name,
        "max_retries": options.get("max_restarts") or 0,
        "retry_list": _facts(name, namespace, options.get("max_concurrency"), groups),
        "resources": resources,
        "creates_actor": True,
        "labels": _labels.alternatives(options),
        **_strategy(strategy),
        **placement,
    }


def _facts(name, namespace, max_concurrency, groups):
    """What a worker, of any language, knows before it makes the actor."""
    facts = {"name": name, "namespace": namespace, "max_concurrency": max_concurrency, "groups": groups}
    return json.dumps(facts).encode()


def of_method(class_name, method, options):
    """A method of an actor."""
    full_name = f"{class_name}.{method}"
    return {
        **_DEFAULTS,
        "function_id": method,
        "function_name": full_name,
        "name": options.get("name") or full_name,
        "max_retries": options["max_task_retries"],
        "ordered": options["ordered"],
        "concurrency_group": options.get("concurrency_group") or "",
        **_results(options, options.get("generator")),
        **_retry_exceptions(options),
    }


def _refuse(what, options, keywords):
    for keyword in keywords:
        if options.get(keyword):
            raise NotImplementedError(f"the option {keyword} of {what} {NOT_YET}")


def _place(options, resources, cpus_to_start, what):
    from ray_mpi.util.placement_group import place

    return place(options, dict(resources), cpus_to_start, what)


_STREAMS = {"streaming": 1, "dynamic": 2}  # StreamKind of ids.h


def _results(options, generator):
    num_returns = options.get("num_returns")
    if num_returns is None:
        num_returns = "streaming" if generator else 1
    if isinstance(num_returns, int):
        return {"num_returns": num_returns}
    _options.check_streams(options, generator)
    if options.get("_num_objects_per_yield") not in (None, 1):
        raise NotImplementedError(f"the option _num_objects_per_yield {NOT_YET}")
    window = options.get("_generator_backpressure_num_objects")
    if num_returns == "dynamic" or window is None:
        window = 0
    return {"num_returns": 1, "stream": _STREAMS[num_returns], "window": max(0, window)}


def _retry_exceptions(options):
    retry = options.get("retry_exceptions") or False
    return {
        "retry_exceptions": bool(retry),
        "retry_list": b"" if isinstance(retry, bool) else _serialization.dumps_inband(tuple(retry)),
    }


def _strategy(strategy):
    from ray_mpi.util import scheduling_strategies as known

    if strategy in (None, "DEFAULT") or isinstance(strategy, known.PlacementGroupSchedulingStrategy):
        return {}
    if strategy == "SPREAD":
        return {"strategy": 1}
    if isinstance(strategy, known.NodeAffinitySchedulingStrategy):
        node = known.node_number(strategy.node_id)
        now = strategy._spill_on_unavailable or strategy._fail_on_unavailable
        return {"strategy": 2, "affinity_node": node, "affinity_soft": strategy.soft, "affinity_now": now}
    if isinstance(strategy, known.NodeLabelSchedulingStrategy):
        return {}  # what it asks for are labels
    raise NotImplementedError(f"{type(strategy).__name__}: this scheduling strategy {NOT_YET}")
