# SPDX-License-Identifier: Apache-2.0
"""Tasks that start tasks and wait for them: a blocked task lends its CPU, and nothing deadlocks."""

import time

import pytest
import ray
from support import count_lines, eventually, get, note

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def identity(value):
    return value


@ray.remote
def descend(depth):
    return 0 if depth == 0 else 1 + ray.get(descend.remote(depth - 1))


@ray.remote
def fibonacci(n):
    if n < 2:
        return n
    return sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))


@ray.remote
def wait_for(refs):
    return ray.get(refs[0])


@ray.remote
def after(seconds, value):
    time.sleep(seconds)
    return value


def test_depth_twenty_on_two_cpus():
    assert get(descend.remote(20), timeout=150) == 20


def test_a_tree():
    assert get(fibonacci.remote(7), timeout=120) == 13


def test_as_many_waiting_parents_as_cpus():
    @ray.remote
    def parent(i):
        return sum(ray.get([identity.remote(i), identity.remote(1)]))

    assert get([parent.remote(i) for i in range(8)]) == list(range(1, 9))


@pytest.mark.parametrize("waiters", [1, 2, 8])
def test_waiting_for_a_task_that_was_sent_behind(waiters):
    """`late` waits for its argument and so is sent after the tasks that wait for `late`: behind one of them."""
    get([identity.remote(i) for i in range(100)])  # short tasks: sent ahead to busy workers
    for _ in range(3):
        late = identity.remote(after.remote(0.2, "late"))
        assert get([wait_for.remote([late]) for _ in range(waiters)]) == ["late"] * waiters


@pytest.mark.parametrize("waiters", [2, 8])
def test_the_same_with_wait_instead_of_get(waiters):
    @ray.remote
    def wait_until_ready(refs):
        ready, _ = ray.wait(refs, timeout=60)
        return len(ready)

    get([identity.remote(i) for i in range(100)])
    late = identity.remote(after.remote(0.2, "late"))
    assert get([wait_until_ready.remote([late]) for _ in range(waiters)]) == [1] * waiters


def test_every_worker_waits_for_the_task_behind_it():
    """n waiting tasks for which the awaited tasks all come later, far more than CPUs."""
    get([identity.remote(i) for i in range(100)])

    @ray.remote
    def waits(path):
        deadline = time.monotonic() + 60
        mine = identity.remote(1)
        while time.monotonic() < deadline:
            ready, _ = ray.wait([mine], timeout=1)
            if ready:
                return ray.get(mine)
        return "starved"

    assert get([waits.remote(i) for i in range(20)], timeout=90) == [1] * 20


def test_work_behind_a_blocked_task_moves_on(tmp_path):
    """Short tasks submitted behind one that turns out long must not stay with its worker."""
    get([identity.remote(i) for i in range(100)])  # the shape is known to be short now

    @ray.remote
    def maybe_long(i, folder):
        if i == 0:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and count_lines(f"{folder}/done") < 19:
                time.sleep(0.01)
            return count_lines(f"{folder}/done")
        note(f"{folder}/done")
        return i

    refs = [maybe_long.remote(i, str(tmp_path)) for i in range(20)]
    assert get(refs[0], timeout=90) == 19


def test_a_parent_passes_its_child_on():
    @ray.remote
    def parent():
        return [identity.remote("child")]

    assert get(get(parent.remote())[0]) == "child"


def test_a_child_outlives_its_parent():
    @ray.remote
    def parent():
        return [after.remote(0.5, "still here")]

    assert get(get(parent.remote())[0]) == "still here"


def test_a_child_nobody_waits_for_runs(tmp_path):
    @ray.remote
    def child(path):
        note(path)

    @ray.remote
    def parent(path):
        child.remote(path)
        return "parent done"

    path = str(tmp_path / "ran")
    assert get(parent.remote(path)) == "parent done"
    assert eventually(lambda: count_lines(path) == 1)


def test_a_ref_handed_down_many_levels():
    @ray.remote
    def hand_down(box, depth):
        return ray.get(box[0]) if depth == 0 else ray.get(hand_down.remote(box, depth - 1))

    assert get(hand_down.remote([ray.put("precious")], 5)) == "precious"


def test_a_borrowed_ref_is_passed_to_a_task():
    @ray.remote
    def forward(box):
        return ray.get(identity.remote(box[0]))

    assert get(forward.remote([ray.put(7)])) == 7


def test_a_borrowed_ref_of_an_unfinished_task():
    assert get(wait_for.remote([after.remote(0.5, "worth it")])) == "worth it"


def test_cpus_are_lent_only_while_blocked(tmp_path):
    """Never more than two tasks compute at once on two CPUs, nested or not."""

    @ray.remote
    def leaf(folder):
        start = time.monotonic()
        time.sleep(0.15)
        return start, time.monotonic()

    @ray.remote
    def inner(folder):
        return ray.get([leaf.remote(folder) for _ in range(3)])

    spans = [span for part in get([inner.remote(str(tmp_path)) for _ in range(3)]) for span in part]
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    assert most <= 2


def test_more_cpus_than_there_are_wait_for_ever_but_harm_nobody():
    hopeless = identity.options(num_cpus=1000).remote(1)
    assert get(identity.remote(2)) == 2
    assert ray.wait([hopeless], timeout=0.3) == ([], [hopeless])
    ray.cancel(hopeless)


def test_a_dependent_of_a_slow_task_blocks_nobody():
    slow = after.remote(3, 1)
    dependent = identity.remote(slow)
    start = time.monotonic()
    assert get([identity.remote(i) for i in range(10)]) == list(range(10))
    assert time.monotonic() - start < 2.5
    assert get(dependent) == 1
