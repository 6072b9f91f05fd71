# SPDX-License-Identifier: Apache-2.0
"""Errors of options without a runtime: class and text."""

import pytest
import ray


def one():
    return 1


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"num_cpu": 1}, ValueError, "Invalid option keyword num_cpu for remote functions. Valid ones are"),
        ({"num_cpus": "1"}, TypeError, "The type of keyword 'num_cpus' must be"),
        ({"num_cpus": -1}, ValueError, "The quantity of resource num_cpus cannot be negative"),
        ({"num_cpus": float("nan")}, ValueError, "num_cpus"),
        ({"num_gpus": -1}, ValueError, "num_gpus"),
        ({"resources": {"TPU": 3}}, ValueError, "Supported configs"),
        ({"resources": {"neuron_cores": 0.5}}, ValueError, "whole numbers"),
        ({"resources": {"CPU": 1}}, ValueError, "Use the 'num_cpus' and 'num_gpus' keyword"),
        ({"resources": {"x": "1"}}, TypeError, "x"),
        ({"max_retries": -2}, ValueError, "max_retries"),
        ({"retry_exceptions": ["x"]}, ValueError, "retry_exceptions"),
        ({"num_returns": True}, TypeError, "num_returns"),
        ({"num_returns": -1}, ValueError, "num_returns"),
        ({"scheduling_strategy": "RANDOM"}, ValueError, "scheduling_strategy"),
        ({"placement_group": "x", "scheduling_strategy": "SPREAD"}, ValueError, "scheduling_strategy"),
    ],
    ids=repr,
)
def test_errors(options, error, text):
    with pytest.raises(error) as raised:
        ray.remote(**options)(one)
    assert text in str(raised.value)
    with pytest.raises(error) as raised:
        ray.remote(one).options(**options)
    assert text in str(raised.value)


def test_resources_of_a_task():
    from ray_mpi._options import task_resources

    assert task_resources({}) == [("CPU", 1.0)]
    assert task_resources({"num_cpus": 0}) == []
    assert task_resources({"num_cpus": 0.5, "num_gpus": 1, "resources": {"b": 2, "a": 0}, "memory": 10}) == [
        ("CPU", 0.5),
        ("GPU", 1.0),
        ("b", 2.0),
        ("memory", 10.0),
    ]
    assert ("accelerator_type:A100", 0.001) in task_resources({"accelerator_type": "A100"})


def test_what_may_follow_the_decorator():
    assert ray.remote(one)._function_name == f"{__name__}.one"
    for wrong in ((2, 3), (42,), ()):
        with pytest.raises((AssertionError, TypeError)):
            ray.remote(*wrong)
    with pytest.raises(TypeError):
        ray.remote(num_cpus=1)(42)


def test_calls_are_checked_before_anything_starts():
    def f(a, b=2, *, c):
        return a, b, c

    function = ray.remote(f)
    for args, kwargs, text in [
        ((), {"c": 1}, "missing a required argument: 'a'"),
        ((1,), {}, "missing a required"),
        ((1, 2, 3), {"c": 1}, "too many positional arguments"),
        ((1,), {"c": 1, "d": 2}, "unexpected keyword argument 'd'"),
        ((1,), {"a": 1, "c": 1}, "multiple values"),
    ]:
        with pytest.raises(TypeError, match=text):
            function._check(args, kwargs)
    function._check((1,), {"c": 1})
    function._check((), {"a": 1, "b": 2, "c": 3})
