# SPDX-License-Identifier: Apache-2.0
"""What @ray.remote(...) and .options(...) accept for tasks, and how they refuse the rest."""

import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


def one():
    return 1


GOOD = [
    {"num_cpus": 0},
    {"num_cpus": 0.5},
    {"num_cpus": 0.0001},
    {"num_cpus": 2},
    {"num_cpus": None},
    {"num_gpus": 0},
    {"num_gpus": None},
    {"memory": 1024 * 1024},
    {"memory": None},
    {"resources": {"slot": 0.5}},
    {"resources": {"slot": 1, "other": 0}},
    {"resources": {}},
    {"resources": None},
    {"name": "a name"},
    {"name": None},
    {"max_retries": 0},
    {"max_retries": -1},
    {"max_retries": None},
    {"num_returns": 1},
    {"num_returns": None},
    {"retry_exceptions": True},
    {"retry_exceptions": [ValueError, OSError]},
    {"retry_exceptions": (ValueError,)},
    {"scheduling_strategy": "DEFAULT"},
    {"scheduling_strategy": "SPREAD"},
    {"scheduling_strategy": None},
    {"enable_task_events": False},
    {"object_store_memory": None},
    {"placement_group": None},
    {"placement_group": "default"},
    {"placement_group_bundle_index": -1},
    {"label_selector": {}},
    {"_labels": {"key": "value"}},
]

# keyword, value, error; the same for the decorator and for options()
BAD = [
    ("num_cpus", -1, ValueError),
    ("num_cpus", "1", TypeError),
    ("num_cpus", [1], TypeError),
    ("num_cpus", 0.00001, ValueError),
    ("num_gpus", -0.5, ValueError),
    ("num_gpus", 1.5, ValueError),
    ("num_gpus", "one", TypeError),
    ("memory", -1, ValueError),
    ("memory", "1G", TypeError),
    ("resources", {"CPU": 1}, ValueError),
    ("resources", {"GPU": 1}, ValueError),
    ("resources", {"slot": -1}, ValueError),
    ("resources", {"slot": 0.00001}, ValueError),
    ("resources", ["slot"], TypeError),
    ("name", 5, TypeError),
    ("max_retries", -2, ValueError),
    ("max_retries", "3", TypeError),
    ("max_retries", 1.5, TypeError),
    ("num_returns", -1, ValueError),
    ("num_returns", "x", TypeError),
    ("num_returns", 1.5, TypeError),
    ("retry_exceptions", ["x"], ValueError),
    ("retry_exceptions", [int], ValueError),
    ("retry_exceptions", ValueError, TypeError),
    ("retry_exceptions", None, TypeError),
    ("retry_exceptions", "x", TypeError),
    ("object_store_memory", 1, ValueError),
    ("enable_task_events", None, TypeError),
    ("scheduling_strategy", 5, TypeError),
    ("runtime_env", "env", TypeError),
    ("placement_group_bundle_index", None, TypeError),
    ("_generator_backpressure_num_objects", 0, ValueError),
    ("_labels", "x", TypeError),
    ("label_selector", "x", TypeError),
    ("accelerator_type", 5, TypeError),
]

# words that belong to actors or to nobody
UNKNOWN = ["num_cpu", "cpus", "max_restarts", "max_concurrency", "lifetime", "namespace", "get_if_exists"]


@pytest.mark.parametrize("options", GOOD, ids=repr)
def test_accepted(options):
    ray.remote(**options)(one)
    ray.remote(one).options(**options)


@pytest.mark.parametrize("options", [{"num_cpus": 0.5}, {"num_cpus": 0}, {"resources": {"slot": 0.5}}], ids=repr)
def test_accepted_and_run(options):
    assert get(ray.remote(**options)(one).remote()) == 1
    assert get(ray.remote(one).options(**options).remote()) == 1


@pytest.mark.parametrize("keyword, value, error", BAD, ids=[f"{k}={v!r}" for k, v, _ in BAD])
def test_refused_by_the_decorator(keyword, value, error):
    with pytest.raises(error):
        ray.remote(**{keyword: value})(one).remote()


@pytest.mark.parametrize("keyword, value, error", BAD, ids=[f"{k}={v!r}" for k, v, _ in BAD])
def test_refused_by_options(keyword, value, error):
    function = ray.remote(one)
    with pytest.raises(error):
        function.options(**{keyword: value}).remote()


@pytest.mark.parametrize("keyword", UNKNOWN)
def test_unknown_words_are_value_errors(keyword):
    with pytest.raises(ValueError, match=keyword):
        ray.remote(**{keyword: 1})(one)
    with pytest.raises(ValueError, match=keyword):
        ray.remote(one).options(**{keyword: 1})


def test_max_calls():
    assert get(ray.remote(max_calls=2)(one).remote()) == 1
    with pytest.raises(ValueError):
        ray.remote(max_calls=-1)(one)
    with pytest.raises(TypeError):
        ray.remote(max_calls="x")(one)
    with pytest.raises(ValueError, match="max_calls"):
        ray.remote(one).options(max_calls=1)


def test_positional_arguments_of_the_decorator_are_refused():
    with pytest.raises((TypeError, AssertionError, ValueError)):
        ray.remote(2, 3)


def test_options_leave_the_function_as_it_was():
    function = ray.remote(num_returns=2)(lambda: (1, 2))
    assert get(function.options(num_returns=1).remote()) == (1, 2)
    assert get(function.remote()) == [1, 2]


def test_options_do_not_pile_up():
    function = ray.remote(lambda: (1, 2))
    assert get(function.options(num_returns=2).remote()) == [1, 2]
    assert get(function.options(name="x").remote()) == (1, 2)


def test_a_placement_group_beside_a_strategy_is_refused():
    with pytest.raises((ValueError, TypeError)):
        ray.remote(one).options(placement_group="x", scheduling_strategy="SPREAD").remote()


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError):
        get(ray.remote(one).options(scheduling_strategy="RANDOM").remote(), timeout=10)


def test_node_affinity_is_a_strategy():
    strategy = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    assert get(ray.remote(one).options(scheduling_strategy=strategy).remote()) == 1


def test_resources_are_given_back():
    function = ray.remote(num_cpus=2, resources={"slot": 4})(one)
    assert get([function.remote() for _ in range(5)]) == [1] * 5
    assert eventually(lambda: ray.available_resources().get("slot") == 4)
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
