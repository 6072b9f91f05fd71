# SPDX-License-Identifier: Apache-2.0
"""Placement groups on one node: making, using, naming and removing them."""

import time

import pytest
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    GetTimeoutError,
    RaySystemError,
    TaskPlacementGroupRemoved,
    WorkerCrashedError,
)
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup, get_current_placement_group, get_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup
from support import UNDER_RAY, eventually, get, run_program

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def current():
    return get_current_placement_group()


@ray.remote
def hold(seconds=600):
    time.sleep(seconds)


@ray.remote(num_cpus=0)
class Member:
    def group(self):
        return ray.get_runtime_context().get_placement_group_id()

    def child(self):
        return get(current.remote())


@pytest.fixture
def make():
    """placement_group(), whose groups are gone after the test."""
    made = []

    def _make(*args, **kwargs):
        made.append(placement_group(*args, **kwargs))
        return made[-1]

    yield _make
    for group in made:
        remove_placement_group(group)
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)


def free(name):
    return ray.available_resources().get(name, 0)


# ---- making ---------------------------------------------------------------------------------------------------------


def test_a_group_takes_its_resources_from_the_node_until_it_is_removed(make):
    group = make([{"CPU": 1}, {"CPU": 0.5, "slot": 2}])
    assert get(group.ready()) == group
    assert group.wait(10) is True
    assert (group.bundle_count, group.bundle_specs) == (2, [{"CPU": 1}, {"CPU": 0.5, "slot": 2}])
    assert eventually(lambda: free("CPU") == 0.5 and free("slot") == 2)
    remove_placement_group(group)
    assert eventually(lambda: free("CPU") == 2 and free("slot") == 4)


def test_reports_show_bundles_as_rays_do(make):
    group = make([{"CPU": 1}, {"slot": 2}])
    get(group.ready())
    own = group.id.hex()
    total = ray.cluster_resources()
    assert total[f"CPU_group_{own}"] == total[f"CPU_group_0_{own}"] == 1
    assert total[f"slot_group_1_{own}"] == 2
    assert total[f"bundle_group_{own}"] == 2000
    busy = hold.options(scheduling_strategy=InGroup(group, 0)).remote()
    assert eventually(lambda: free(f"CPU_group_0_{own}") == 0)
    ray.cancel(busy, force=True)
    assert eventually(lambda: free(f"CPU_group_0_{own}") == 1)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_strategies_that_one_node_can_satisfy(make, strategy):
    assert make([{"CPU": 1}, {"CPU": 1}], strategy=strategy).wait(30)


def test_a_strict_spread_of_two_bundles_waits_for_a_second_node(make):
    group = make([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    assert not group.wait(0.5)
    assert placement_group_table(group)["state"] == "PENDING"
    assert get(current.remote()) is None, "it keeps nobody waiting"


@pytest.mark.parametrize("bundles", [[], [{}], [{"CPU": 0}], {"CPU": 1}, [{"CPU": "1"}], [{1: 1}]])
def test_bundles_that_are_none(bundles):
    with pytest.raises(ValueError, match="[Bb]undles"):
        placement_group(bundles)


@pytest.mark.ours_only("Ray accepts them, and its raylet dies")
@pytest.mark.parametrize("bundle", [{"CPU": -1}, {"CPU": float("nan")}, {"CPU": float("inf")}, {"bundle": 1}])
def test_amounts_that_cannot_be(bundle):
    with pytest.raises(ValueError, match="resource"):
        placement_group([bundle])


def test_a_bundle_goes_where_its_labels_are(make):
    node = ray.get_runtime_context().get_node_id()
    group = make([{"CPU": 1}, {"CPU": 1}], bundle_label_selector=[{"ray.io/node-id": node}, {}])
    assert group.wait(10)
    assert list(placement_group_table(group)["bundles_to_node_id"].values()) == [node, node]
    remove_placement_group(group)
    nowhere = make([{"CPU": 1}], bundle_label_selector=[{"ray.io/node-id": "!" + node}])
    assert not nowhere.wait(0.5)


@pytest.mark.parametrize(
    ("selectors", "match"),
    [
        ([], "length of `bundle_label_selector`"),
        ([{}, {}], "length of `bundle_label_selector`"),
        (({"zone": "a"},), "must be a list"),
        (["a"], "list of string dictionary"),
        ([{"zone": 1}], "list of string dictionary"),
        ([{"zone": "in(a"}], "Invalid label selector provided in bundle_label_selector list"),
        ([{"-zone": "a"}], "Invalid label key name `-zone`"),
    ],
)
def test_label_selectors_of_bundles_that_cannot_be(selectors, match):
    with pytest.raises(ValueError, match=match):
        placement_group([{"CPU": 1}], bundle_label_selector=selectors)


@pytest.mark.parametrize("options", [{"strategy": "FOO"}, {"lifetime": "long"}, {"_soft_target_node_id": "ab" * 28}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError):
        placement_group([{"CPU": 1}], **options)


def test_a_soft_target_is_where_a_strict_pack_goes(make):
    here = ray.nodes()[0]["NodeID"]
    group = make([{"CPU": 1}], strategy="STRICT_PACK", _soft_target_node_id=here)
    assert group.wait(30)
    assert placement_group_table(group)["bundles_to_node_id"] == {0: here}


def test_the_empty_group():
    empty = PlacementGroup.empty()
    assert empty.is_empty
    assert empty.wait(1) is False
    assert get(current.options(scheduling_strategy=InGroup(None)).remote()) is None


# ---- names and tables -----------------------------------------------------------------------------------------------


def test_names(make):
    group = make([{"CPU": 1}], name="mine")
    assert get_placement_group("mine") == group
    with pytest.raises(RaySystemError, match="already exists"):
        placement_group([{"CPU": 1}], name="mine")
    remove_placement_group(group)
    for name in ("mine", "nobody's", ""):
        with pytest.raises(ValueError):
            get_placement_group(name)
    assert make([{"CPU": 1}], name="mine").wait(30), "the name is free again"


def test_the_table(make):
    group = make([{"CPU": 1}, {"slot": 1}], name="listed", strategy="SPREAD")
    get(group.ready())
    entry = placement_group_table(group)
    assert (entry["name"], entry["strategy"], entry["state"]) == ("listed", "SPREAD", "CREATED")
    assert entry["bundles"] == {0: {"CPU": 1}, 1: {"slot": 1}}
    node = ray.nodes()[0]["NodeID"]
    assert entry["bundles_to_node_id"] == {0: node, 1: node}
    assert placement_group_table()[group.id.hex()]["name"] == "listed"
    remove_placement_group(group)
    assert eventually(lambda: placement_group_table(group)["state"] == "REMOVED")


# ---- using ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", [-1, 0, 1])
def test_tasks_and_actors_know_their_group(make, bundle):
    group = make([{"CPU": 1}, {"CPU": 1}])
    assert get(current.options(scheduling_strategy=InGroup(group, bundle)).remote()) == group
    member = Member.options(num_cpus=1, scheduling_strategy=InGroup(group, bundle)).remote()
    assert get(member.group.remote()) == group.id.hex()
    assert get_current_placement_group() is None


def test_the_old_style_of_options(make):
    group = make([{"CPU": 1}])
    assert get(current.options(placement_group=group, placement_group_bundle_index=0).remote()) == group
    with pytest.raises(ValueError, match="scheduling_strategy"):
        current.options(placement_group=group, scheduling_strategy=InGroup(group))
    with pytest.raises(ValueError, match="index must be -1"):
        current.options(placement_group_bundle_index=1).remote()


def test_tasks_wait_for_a_group_that_waits(make):
    first = make([{"CPU": 2}])
    get(first.ready())
    second = make([{"CPU": 2}])
    task = current.options(scheduling_strategy=InGroup(second)).remote()
    with pytest.raises(GetTimeoutError):
        ray.get(task, timeout=0.3)
    remove_placement_group(first)
    assert get(task) == second


def test_a_bundle_runs_no_more_than_it_has(make):
    group = make([{"CPU": 1}, {"slot": 1}])
    get(group.ready())
    start = time.monotonic()
    get([hold.options(scheduling_strategy=InGroup(group, 0)).remote(0.2) for _ in range(4)])
    assert time.monotonic() - start > 0.75


def test_a_task_that_waits_lends_its_cpu_to_its_bundle(make):
    @ray.remote
    def parent(group):
        return get(current.options(scheduling_strategy=InGroup(group, 0)).remote())

    group = make([{"CPU": 1}])
    assert get(parent.options(scheduling_strategy=InGroup(group, 0)).remote(group)) == group


def test_children_go_there_only_if_they_are_captured(make):
    group = make([{"CPU": 2}])

    @ray.remote
    def parent():
        return get([current.remote(), current.options(num_cpus=0, placement_group=None).remote()])

    captured = InGroup(group, placement_group_capture_child_tasks=True)
    assert get(parent.options(num_cpus=1, scheduling_strategy=captured).remote()) == [group, None]
    actor = Member.options(num_cpus=0.5, scheduling_strategy=captured).remote()
    assert get(actor.child.remote()) == group
    ray.kill(actor)
    remove_placement_group(group)
    rest = make([{"CPU": 1}])
    assert get(parent.options(scheduling_strategy=InGroup(rest)).remote()) == [None, None]


def test_requests_that_fit_no_bundle(make):
    group = make([{"CPU": 1}, {"slot": 1}])
    for options in ({"num_cpus": 2}, {"resources": {"slot": 1}}, {"num_gpus": 1}):
        with pytest.raises(ValueError, match="cannot fit into any bundles"):
            current.options(scheduling_strategy=InGroup(group), **options).remote()
    for index in (2, -2):
        with pytest.raises(ValueError, match=f"bundle index {index} is invalid"):
            current.options(scheduling_strategy=InGroup(group, index)).remote()
    with pytest.raises(AssertionError):
        current.options(scheduling_strategy=InGroup("group")).remote()
    no_cpu = make([{"slot": 1}])

    @ray.remote
    class Plain:
        pass

    with pytest.raises(ValueError, match="1 CPU for creation"):
        Plain.options(scheduling_strategy=InGroup(no_cpu)).remote()


@pytest.mark.ours_only("Ray waits for ever")
def test_a_request_that_its_own_bundle_can_never_hold(make):
    group = make([{"CPU": 1}, {"slot": 1}])
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="bundle 1"):
        get(current.options(scheduling_strategy=InGroup(group, 1)).remote())


# ---- removing -------------------------------------------------------------------------------------------------------


def test_removal_ends_what_runs_and_what_waits(make):
    group = make([{"CPU": 1}, {"CPU": 1}])
    running = hold.options(scheduling_strategy=InGroup(group, 0), max_retries=0).remote()
    assert eventually(lambda: free(f"CPU_group_0_{group.id.hex()}") == 0)
    queued = current.options(scheduling_strategy=InGroup(group, 0)).remote()
    member = Member.options(num_cpus=1, scheduling_strategy=InGroup(group, 1)).remote()
    get(member.group.remote())
    waiting = Member.options(num_cpus=1, scheduling_strategy=InGroup(group, 1), max_restarts=2).remote()
    remove_placement_group(group)
    with pytest.raises(WorkerCrashedError):
        get(running)
    with pytest.raises(TaskPlacementGroupRemoved):
        get(queued)
    with pytest.raises(ActorDiedError):
        get(member.group.remote())
    with pytest.raises(ActorUnschedulableError, match="placement group was removed"):
        get(waiting.group.remote())
    assert eventually(lambda: free("CPU") == 2)


@pytest.mark.ours_only("Ray lets them wait for ever")
def test_what_comes_late_fails_at_once(make):
    group = make([{"CPU": 1}])
    get(group.ready())
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        get(current.options(scheduling_strategy=InGroup(group)).remote())
    pending = make([{"CPU": 100}])
    task = current.options(scheduling_strategy=InGroup(pending)).remote()
    actor = Member.options(scheduling_strategy=InGroup(pending)).remote()
    time.sleep(0.1)
    remove_placement_group(pending)
    with pytest.raises(TaskPlacementGroupRemoved):
        get(task)
    with pytest.raises(ray.exceptions.ActorPlacementGroupRemoved):
        get(actor.group.remote())


def test_ready_and_wait_of_a_removed_group(make):
    group = make([{"CPU": 100}])
    ref = group.ready()
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        get(ref)
    with pytest.raises(Exception, match="does not exist"):
        group.wait(10)
    remove_placement_group(group)  # once more is nothing
    with pytest.raises(AssertionError):
        remove_placement_group(None)


# ---- lives ----------------------------------------------------------------------------------------------------------


def test_many_groups_come_and_go():
    for _ in range(3):
        groups = [placement_group([{"slot": 0.001}]) for _ in range(100)]
        get([group.ready() for group in groups])
        for group in groups:
            remove_placement_group(group)
    assert eventually(lambda: free("slot") == 4)


def test_a_large_group_is_not_starved_by_small_tasks(make):
    @ray.remote
    def small():
        time.sleep(0.002)

    refs = [small.remote() for _ in range(3000)]
    group = make([{"CPU": 2}])
    start = time.monotonic()
    assert group.wait(60)
    took = time.monotonic() - start
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    if not UNDER_RAY:
        assert len(done) < len(refs), f"it came after all of them, in {took:.1f} s"
    remove_placement_group(group)
    get(refs, timeout=120)


@pytest.mark.ours_only("it starts runtimes by itself")
def test_a_group_of_a_task_is_a_group_of_its_job(tmp_path):
    text = """
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

        @ray.remote
        def make():
            group = ray.util.placement_group([{"CPU": 1}])
            return ray.get(group.ready())

        @ray.remote
        def where():
            return ray.util.get_current_placement_group()

        ray.init(num_cpus=2)
        group = ray.get(make.remote(), timeout=60)
        assert ray.get(where.options(scheduling_strategy=InGroup(group)).remote(), timeout=60) == group
        print("fine")
    """
    done = run_program(tmp_path, text)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
