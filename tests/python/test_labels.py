# SPDX-License-Identifier: Apache-2.0
"""Labels of nodes: what nodes() shows, who runs where, what is refused. One node: what it does not have waits."""

import math

import pytest
import ray
from ray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
)
from support import PATIENCE_S, get, run_program

NO_NODE = "ab" * 28


@pytest.fixture(scope="module", autouse=True)
def labelled():
    ray.shutdown()
    ray.init(
        num_cpus=2,
        resources={"slot": 2},
        labels={"zone": "a", "team/x": "b1"},
        log_to_driver=False,
        include_dashboard=False,
        object_store_memory=300 * 1024 * 1024,
    )
    yield
    ray.shutdown()


@ray.remote
def run():
    return "ran"


@ray.remote
class Keeper:
    def run(self):
        return "ran"


def outcome(expected, **options):
    """Whether the task runs. What is to wait gets a moment to show that it does not."""
    ref = run.options(**options).remote()
    done, _ = ray.wait([ref], timeout=0.4 if expected == "waits" else PATIENCE_S)
    if done:
        return get(ref)
    ray.cancel(ref)
    return "waits"


def test_nodes_show_labels():
    node = ray.nodes()[0]
    labels = node["Labels"]
    assert labels["zone"] == "a" and labels["team/x"] == "b1" and labels["ray.io/node-id"] == node["NodeID"]
    assert ray.get_runtime_context().get_node_labels() == labels


SELECTORS = [
    ({}, "ran"),
    ({"zone": "a"}, "ran"),
    ({"zone": "b"}, "waits"),
    ({"zone": "!a"}, "waits"),
    ({"zone": "!b"}, "ran"),
    ({"zone": "in(a,b)"}, "ran"),
    ({"zone": "in(b, a)"}, "ran"),
    ({"zone": "!in(a,b)"}, "waits"),
    ({"missing": "!a"}, "ran"),
    ({"missing": "!in(a)"}, "ran"),
    ({"missing": ""}, "waits"),
    ({"zone": ""}, "waits"),
    ({"zone": "a", "missing": "c"}, "waits"),
    ({"zone": "a", "team/x": "b1"}, "ran"),
]


@pytest.mark.parametrize("selector, expected", SELECTORS, ids=repr)
def test_selectors(selector, expected):
    assert outcome(expected, label_selector=selector) == expected


def test_the_node_id_is_a_label():
    here = ray.get_runtime_context().get_node_id()
    assert outcome("ran", label_selector={"ray.io/node-id": here}) == "ran"
    assert outcome("waits", label_selector={"ray.io/node-id": "!" + here}) == "waits"


@pytest.mark.parametrize(
    "fallback, expected",
    [
        ([{"label_selector": {"zone": "a"}}], "ran"),
        ([{"label_selector": {"zone": "c"}}, {"label_selector": {"zone": "a"}}], "ran"),
        ([{"label_selector": {"zone": "c"}}], "waits"),
        ([], "waits"),
    ],
)
def test_fallback(fallback, expected):
    assert outcome(expected, label_selector={"zone": "nowhere"}, fallback_strategy=fallback) == expected


def test_a_fallback_of_any_node():
    assert outcome("ran", fallback_strategy=[{"label_selector": {"zone": "nowhere"}}]) == "ran"


@pytest.mark.parametrize(
    "hard, soft, expected",
    [
        ({"zone": In("a", "z")}, None, "ran"),
        ({"zone": In("z")}, None, "waits"),
        ({"zone": NotIn("a")}, None, "waits"),
        ({"missing": NotIn("a")}, None, "ran"),
        ({"zone": Exists()}, None, "ran"),
        ({"zone": DoesNotExist()}, None, "waits"),
        ({"missing": DoesNotExist()}, {"zone": In("a")}, "ran"),
        ({}, {"zone": In("z")}, "ran"),
        ({"zone": In("a")}, {"zone": In("z")}, "ran"),
    ],
)
def test_the_label_strategy(hard, soft, expected):
    assert outcome(expected, scheduling_strategy=NodeLabelSchedulingStrategy(hard, soft=soft)) == expected


def test_with_other_strategies():
    here = ray.get_runtime_context().get_node_id()
    assert outcome("ran", label_selector={"zone": "a"}, scheduling_strategy="SPREAD") == "ran"
    assert outcome("waits", label_selector={"zone": "b"}, scheduling_strategy="SPREAD") == "waits"
    mine = NodeAffinitySchedulingStrategy(here, soft=False)
    assert outcome("ran", label_selector={"zone": "a"}, scheduling_strategy=mine) == "ran"
    with pytest.raises(TaskUnschedulableError):
        get(run.options(label_selector={"zone": "b"}, scheduling_strategy=mine).remote())


def test_actors():
    keeper = Keeper.options(label_selector={"zone": "a"}, num_cpus=1).remote()
    assert get(keeper.run.remote()) == "ran"
    ray.kill(keeper)
    keeper = Keeper.options(scheduling_strategy=NodeLabelSchedulingStrategy({"zone": In("a")})).remote()
    assert get(keeper.run.remote()) == "ran"
    ray.kill(keeper)
    keeper = Keeper.options(label_selector={"zone": "b"}).remote()
    ref = keeper.run.remote()
    assert ray.wait([ref], timeout=0.4) == ([], [ref])
    ray.kill(keeper)


@pytest.mark.parametrize("soft", [False, True])
def test_affinity_to_a_dead_node(soft):
    strategy = NodeAffinitySchedulingStrategy(NO_NODE, soft=soft)
    task = run.options(scheduling_strategy=strategy).remote()
    call = Keeper.options(scheduling_strategy=strategy).remote().run.remote()
    if soft:
        assert get([task, call]) == ["ran", "ran"]
        return
    with pytest.raises(TaskUnschedulableError):
        get(task)
    with pytest.raises(ActorUnschedulableError):
        get(call)


def test_affinity_to_a_node_that_never_has_room():
    here = ray.get_runtime_context().get_node_id()
    with pytest.raises(TaskUnschedulableError):
        get(run.options(num_cpus=64, scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False)).remote())




def test_affinity_for_now_only():
    """The private words: not to wait for the node, but to fail."""
    here = ray.get_runtime_context().get_node_id()
    held = Keeper.options(num_cpus=2).remote()
    assert get(held.run.remote()) == "ran"
    strategy = NodeAffinitySchedulingStrategy(here, soft=False, _fail_on_unavailable=True)
    with pytest.raises(TaskUnschedulableError):
        get(run.options(scheduling_strategy=strategy).remote())
    ray.kill(held)


def test_assigned_resources_of_actors():
    """One CPU for life as soon as an actor asks for anything but memory; none if it asks for nothing."""

    @ray.remote
    class Asks:
        def has(self):
            return ray.get_runtime_context().get_assigned_resources()

    for options, expected in [
        ({}, {}),
        ({"num_cpus": 1}, {"CPU": 1.0}),
        ({"resources": {"slot": 1}}, {"CPU": 1.0, "slot": 1.0}),
        ({"resources": {"slot": 1}, "num_cpus": 0}, {"slot": 1.0}),
    ]:
        actor = Asks.options(**options).remote()
        assert get(actor.has.remote()) == expected
        ray.kill(actor)


# ---- what is refused, where Ray refuses it -------------------------------------------------------------------------

nan, inf = math.nan, math.inf
AT_ONCE = [
    ("num_cpus", -1, ValueError),
    ("num_cpus", nan, ValueError),
    ("num_cpus", inf, OverflowError),
    ("num_cpus", "1", TypeError),
    ("num_cpus", 0.00001, ValueError),
    ("num_gpus", -0.5, ValueError),
    ("num_gpus", nan, ValueError),
    ("memory", -1, ValueError),
    ("resources", {"slot": -1}, ValueError),
    ("resources", {"slot": nan}, ValueError),
    ("resources", {"slot": "x"}, TypeError),
    ("resources", {"CPU": 1}, ValueError),
    ("resources", {"GPU": 1}, ValueError),
    ("resources", {"TPU": 3}, ValueError),
    ("resources", {"HPU": 0.5}, ValueError),
    ("resources", [1], TypeError),
    ("accelerator_type", 1, TypeError),
    ("bogus", 1, ValueError),
    ("scheduling_strategy", 1, TypeError),
    ("label_selector", "a", TypeError),
    ("label_selector", ["a"], TypeError),
    ("label_selector", {1: "a"}, TypeError),
    ("label_selector", {"zone": 1}, TypeError),
    ("label_selector", {"-bad": "a"}, ValueError),
    ("label_selector", {"a/b/c": "x"}, ValueError),
    ("label_selector", {"x" * 64: "a"}, ValueError),
    ("label_selector", {"zone": "-a"}, ValueError),
    ("label_selector", {"zone": "--"}, ValueError),
    ("label_selector", {"zone": "in()"}, ValueError),
    ("label_selector", {"zone": "in(a"}, ValueError),
    ("label_selector", {"zone": "!!a"}, ValueError),
    ("label_selector", {"zone": "a,b"}, ValueError),
    ("label_selector", {"zone": "notin(a)"}, ValueError),
    ("fallback_strategy", "a", TypeError),
    ("fallback_strategy", {"label_selector": {}}, TypeError),
    ("fallback_strategy", [{}], ValueError),
    ("fallback_strategy", ["a"], ValueError),
    ("fallback_strategy", [{"num_cpus": 1}], ValueError),
    ("fallback_strategy", [{"label_selector": "a"}], ValueError),
    ("fallback_strategy", [{"label_selector": {"zone": "--"}}], ValueError),
]


@pytest.mark.parametrize("keyword, value, error", AT_ONCE, ids=[f"{k}={v!r}" for k, v, _ in AT_ONCE])
def test_refused_where_it_is_written(keyword, value, error):
    with pytest.raises(error):
        ray.remote(**{keyword: value})(lambda: 1)
    with pytest.raises(error):
        run.options(**{keyword: value})
    with pytest.raises(error):
        ray.remote(**{keyword: value})(type("Kept", (), {}))


AT_THE_CALL = [
    ("num_gpus", 1.5, ValueError),
    ("resources", {"NPU": 1.5}, ValueError),
    ("resources", {"memory": 1}, ValueError),
    ("resources", {"object_store_memory": 1}, ValueError),
    ("label_selector", {"zone": None}, ValueError),
]


@pytest.mark.parametrize("keyword, value, error", AT_THE_CALL, ids=[f"{k}={v!r}" for k, v, _ in AT_THE_CALL])
def test_refused_at_the_call(keyword, value, error):
    function = run.options(**{keyword: value})
    with pytest.raises(error):
        function.remote()


@pytest.mark.parametrize(
    "make",
    [
        In,
        NotIn,
        lambda: In(1),
        lambda: NotIn("a", 2),
        lambda: NodeLabelSchedulingStrategy(None),
        lambda: NodeLabelSchedulingStrategy({}),
        lambda: NodeLabelSchedulingStrategy("x"),
        lambda: NodeLabelSchedulingStrategy({1: In("a")}),
        lambda: NodeLabelSchedulingStrategy({"a": "b"}),
        lambda: NodeAffinitySchedulingStrategy("zz", False),
        lambda: NodeAffinitySchedulingStrategy("ff" * 28, False),
        lambda: NodeAffinitySchedulingStrategy(NO_NODE, False, _spill_on_unavailable=True),
        lambda: NodeAffinitySchedulingStrategy(NO_NODE, True, _fail_on_unavailable=True),
    ],
)
def test_strategies_refuse(make):
    with pytest.raises(ValueError):
        make()


# ---- infeasible ----------------------------------------------------------------------------------------------------


@pytest.mark.ours_only("Ray repeats it, and names no node")
def test_what_no_node_can_run_is_reported_once_with_the_nearest(tmp_path):
    done = run_program(
        tmp_path,
        """
        import ray
        ray.init(num_cpus=1, labels={"zone": "a"})

        @ray.remote(label_selector={"zone": "in(b, c)"})
        def never(): pass

        @ray.remote(num_cpus=1)
        def small(i): return i

        refs = [never.remote() for _ in range(3)] + [never.options(num_cpus=1).remote()]
        assert ray.get([small.remote(i) for i in range(20)], timeout=30) == list(range(20))
        assert ray.wait(refs, timeout=0.5)[0] == []
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no node can ever run") == 1, done.stderr
    assert "zone: in(b, c)" in done.stderr and "other labels" in done.stderr, done.stderr
