# SPDX-License-Identifier: Apache-2.0
"""ray.cancel: tasks that wait, that run, that will not stop, and their children."""

import os
import time

import pytest
import ray
from ray.exceptions import RayError, TaskCancelledError, WorkerCrashedError
from support import count_lines, eventually, get, note

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def sleep_noting(path, seconds=60):
    note(path, "started")
    time.sleep(seconds)
    note(path, "finished")


@ray.remote
def sleep_in_steps(path, seconds=60):
    note(path, "started")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    note(path, "finished")


@ray.remote
def identity(value):
    return value


@ray.remote
def occupy(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.02)


def cancelled(ref):
    with pytest.raises(TaskCancelledError):
        get(ref)
    return True


@pytest.mark.ours_only("Ray's interrupt waits for the end of a blocking call such as time.sleep")
def test_one_long_sleep_is_interrupted(tmp_path):
    path = tmp_path / "events"
    ref = sleep_noting.remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    start = time.monotonic()
    ray.cancel(ref)
    assert cancelled(ref)
    assert time.monotonic() - start < 5
    assert count_lines(path) == 1


def test_a_running_task_is_interrupted(tmp_path):
    path = tmp_path / "events"
    ref = sleep_in_steps.remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    start = time.monotonic()
    ray.cancel(ref)
    assert cancelled(ref)
    assert time.monotonic() - start < 20
    assert count_lines(path) == 1


def test_a_queued_task_never_runs(tmp_path):
    blockers = [occupy.remote(2) for _ in range(2)]
    path = tmp_path / "events"
    ref = sleep_in_steps.options(num_cpus=2).remote(str(path), 0)
    ray.cancel(ref)
    assert cancelled(ref)
    get(blockers)
    assert get(identity.remote(1)) == 1
    assert count_lines(path) == 0


def test_a_task_that_waits_for_arguments_never_runs(tmp_path):
    slow = identity.remote(occupy.remote(2))
    path = tmp_path / "events"

    @ray.remote
    def use(_, path):
        note(path)

    ref = use.remote(slow, str(path))
    ray.cancel(ref)
    assert cancelled(ref)
    get(slow)
    time.sleep(0.2)
    assert count_lines(path) == 0


def test_a_finished_task_keeps_its_result():
    ref = identity.remote(5)
    assert get(ref) == 5
    ray.cancel(ref)
    assert get(ref) == 5


def test_twice_is_harmless(tmp_path):
    path = tmp_path / "events"
    ref = sleep_in_steps.remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    ray.cancel(ref)
    ray.cancel(ref)
    assert cancelled(ref)
    ray.cancel(ref)
    assert cancelled(ref)


def test_force_kills_a_task_that_does_not_listen(tmp_path):
    path = tmp_path / "events"

    @ray.remote
    def stubborn(path):
        while True:
            try:
                note(path, os.getpid())
                for _ in range(1000):
                    time.sleep(0.05)
            except KeyboardInterrupt:
                pass

    ref = stubborn.remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    ray.cancel(ref, force=True)
    with pytest.raises(TaskCancelledError):
        get(ref)
    assert count_lines(path) <= 2, "cancelled work must not be tried again"


def test_a_swallowed_interrupt_lets_the_task_finish(tmp_path):
    path = tmp_path / "events"

    @ray.remote
    def swallow(path):
        note(path)
        try:
            for _ in range(1000):
                time.sleep(0.05)
        except KeyboardInterrupt:
            return "finished anyway"

    ref = swallow.remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    ray.cancel(ref)
    assert get(ref) == "finished anyway"


def test_cancelled_work_is_not_retried(tmp_path):
    path = tmp_path / "events"
    ref = sleep_in_steps.options(max_retries=5, retry_exceptions=True).remote(str(path))
    assert eventually(lambda: count_lines(path) == 1)
    ray.cancel(ref)
    assert cancelled(ref)
    time.sleep(0.5)
    assert count_lines(path) == 1


def test_children_are_cancelled_too(tmp_path):
    child_path = tmp_path / "child"

    @ray.remote
    def parent(path):
        return ray.get(sleep_in_steps.remote(path, 15))

    ref = parent.remote(str(child_path))
    assert eventually(lambda: count_lines(child_path) == 1)
    ray.cancel(ref, recursive=True)
    with pytest.raises(RayError):
        get(ref)
    # both CPUs are free long before the child would have finished
    start = time.monotonic()
    assert get(identity.options(num_cpus=2).remote(1)) == 1
    assert time.monotonic() - start < 12
    assert count_lines(child_path) == 1


def test_children_live_on_without_recursive(tmp_path):
    child_path = tmp_path / "child"

    @ray.remote
    def parent(path):
        return ray.get(sleep_in_steps.remote(path, 2))

    ref = parent.remote(str(child_path))
    assert eventually(lambda: count_lines(child_path) == 1)
    ray.cancel(ref, recursive=False)
    with pytest.raises(RayError):
        get(ref)
    assert eventually(lambda: count_lines(child_path) == 2)


def test_dependents_of_a_cancelled_task_fail():
    slow = occupy.remote(60)
    dependent = identity.remote(slow)
    ray.cancel(slow)
    with pytest.raises(RayError):
        get(dependent)


def test_a_cancelled_task_error_is_a_ray_error():
    assert issubclass(TaskCancelledError, RayError)


def test_workers_are_usable_after_a_cancel(tmp_path):
    for i in range(5):
        path = tmp_path / f"events{i}"
        ref = sleep_in_steps.remote(str(path))
        assert eventually(lambda: count_lines(path) == 1)
        ray.cancel(ref)
        assert cancelled(ref)
    assert get([identity.remote(i) for i in range(100)]) == list(range(100))


def test_a_late_cancel_does_not_hit_the_next_task():
    """Cancel races with the end of short tasks; only the one meant may be hit."""
    for i in range(50):
        first, second = identity.remote(i), identity.remote(i + 1000)
        ray.cancel(first)
        assert get(second) == i + 1000
        try:
            assert get(first) == i
        except TaskCancelledError:
            pass


def test_a_hundred_queued_tasks_at_once():
    blockers = [occupy.remote(1) for _ in range(2)]
    refs = [occupy.remote(60) for _ in range(100)]
    for ref in refs:
        ray.cancel(ref)
    for ref in refs:
        assert cancelled(ref)
    get(blockers)


def test_only_refs_can_be_cancelled():
    for thing in (1, "x", None, [identity.remote(1)]):
        with pytest.raises((TypeError, ValueError)):
            ray.cancel(thing)


def test_a_put_cannot_be_cancelled():
    ref = ray.put(1)
    try:
        ray.cancel(ref)
    except (TypeError, ValueError):
        pass
    assert get(ref) == 1


def test_from_inside_a_task():
    @ray.remote
    def starter():
        ref = occupy.remote(60)
        ray.cancel(ref)
        try:
            ray.get(ref, timeout=30)
        except TaskCancelledError:
            return "stopped it"

    assert get(starter.remote()) == "stopped it"


def test_by_a_borrower():
    @ray.remote
    def stopper(box):
        ray.cancel(box[0])

    ref = occupy.remote(60)
    get(stopper.remote([ref]))
    assert cancelled(ref)


def test_several_results_are_all_cancelled():
    @ray.remote(num_returns=2)
    def two():
        for _ in range(1000):
            time.sleep(0.05)
        return 1, 2

    first, second = two.remote()
    ray.cancel(second)
    assert cancelled(first) and cancelled(second)
