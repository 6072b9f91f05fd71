# SPDX-License-Identifier: Apache-2.0
"""Worker death and retries: attempts are counted through a file that every attempt appends to."""

import os
import signal
import time

import pytest
import ray
from ray.exceptions import RayError, WorkerCrashedError
from support import count_lines, get, note

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def die(path, survive_after):
    note(path)
    if count_lines(path) <= survive_after:
        os._exit(1)
    return count_lines(path)


@ray.remote
def fail(path, succeed_after, error=ValueError):
    note(path)
    if count_lines(path) <= succeed_after:
        raise error("not yet")
    return count_lines(path)


@ray.remote
def pid():
    return os.getpid()


def test_a_dead_worker_is_retried(tmp_path):
    path = str(tmp_path / "runs")
    assert get(die.remote(path, 2)) == 3


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_retries_are_counted(tmp_path, retries):
    path = tmp_path / "runs"
    with pytest.raises(WorkerCrashedError):
        get(die.options(max_retries=retries).remote(str(path), 100))
    assert count_lines(path) == retries + 1


def test_three_retries_by_default(tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(WorkerCrashedError):
        get(die.remote(str(path), 100))
    assert count_lines(path) == 4


def test_minus_one_is_without_end(tmp_path):
    assert get(die.options(max_retries=-1).remote(str(tmp_path / "runs"), 6), timeout=120) == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["SIGKILL", "SIGSEGV"])
def test_a_signal_is_a_crash(number):
    @ray.remote(max_retries=0)
    def kill_myself():
        os.kill(os.getpid(), number)
        time.sleep(60)

    with pytest.raises(WorkerCrashedError):
        get(kill_myself.remote())


def test_sys_exit_counts_as_a_crash(tmp_path):
    @ray.remote
    def leave(path):
        note(path)
        if count_lines(path) < 3:
            raise SystemExit(0)
        return "in the end"

    assert get(leave.remote(str(tmp_path / "runs"))) == "in the end"


def test_an_exception_is_not_retried_by_default(tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(ValueError):
        get(fail.remote(str(path), 1))
    assert count_lines(path) == 1


def test_retry_exceptions(tmp_path):
    assert get(fail.options(retry_exceptions=True).remote(str(tmp_path / "runs"), 2)) == 3


def test_retry_exceptions_respects_max_retries(tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(ValueError):
        get(fail.options(retry_exceptions=True, max_retries=2).remote(str(path), 100))
    assert count_lines(path) == 3


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_choice_of_exceptions(tmp_path, kind):
    chosen = fail.options(retry_exceptions=kind([OSError, KeyError]))
    assert get(chosen.remote(str(tmp_path / "a"), 2, KeyError)) == 3
    assert get(chosen.remote(str(tmp_path / "b"), 2, FileNotFoundError)) == 3
    with pytest.raises(ValueError):
        get(chosen.remote(str(tmp_path / "c"), 2, ValueError))
    assert count_lines(tmp_path / "c") == 1


def test_retry_exceptions_without_retries(tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(ValueError):
        get(fail.options(retry_exceptions=True, max_retries=0).remote(str(path), 100))
    assert count_lines(path) == 1


def test_dependents_see_the_retried_result(tmp_path):
    @ray.remote
    def double(x):
        return 2 * x

    assert get(double.remote(die.remote(str(tmp_path / "runs"), 1))) == 4


def test_a_crash_as_argument_fails_the_dependent(tmp_path):
    @ray.remote
    def double(x):
        return 2 * x

    with pytest.raises(RayError):
        get(double.remote(die.options(max_retries=0).remote(str(tmp_path / "runs"), 1)))


def test_the_crash_report_names_what_happened(tmp_path):
    with pytest.raises(WorkerCrashedError) as info:
        get(die.options(max_retries=0).remote(str(tmp_path / "runs"), 1))
    assert "worker" in str(info.value).lower()


def test_other_tasks_go_on(tmp_path):
    crashing = [die.options(max_retries=0).remote(str(tmp_path / f"r{i}"), 1) for i in range(4)]
    assert get([pid.remote() for _ in range(50)])
    for ref in crashing:
        with pytest.raises(WorkerCrashedError):
            get(ref)


def test_results_survive_their_worker(tmp_path):
    """Small values live with the owner, large ones in the store: neither dies with the process that made them."""

    @ray.remote
    def make():
        return os.getpid(), bytes(1_000_000)

    ref = make.remote()
    maker, data = get(ref)
    os.kill(maker, signal.SIGKILL)
    time.sleep(0.3)
    assert get(ref)[1] == data
    assert get(pid.remote()) != maker


def test_an_idle_worker_that_was_killed_is_replaced():
    for _ in range(3):
        os.kill(get(pid.remote()), signal.SIGKILL)
        assert get(pid.remote())


def test_a_killed_worker_in_the_middle_of_a_task(tmp_path):
    path = str(tmp_path / "pids")

    @ray.remote
    def stay(path):
        note(path, os.getpid())
        if count_lines(path) == 1:
            time.sleep(60)
        return "second attempt"

    ref = stay.remote(path)
    deadline = time.monotonic() + 30
    while count_lines(path) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(int(open(path, encoding="utf-8").read()), signal.SIGKILL)
    assert get(ref) == "second attempt"


def test_max_calls_ends_the_worker():
    @ray.remote(max_calls=1)
    def fresh():
        return os.getpid()

    pids = [get(fresh.remote()) for _ in range(4)]
    assert len(set(pids)) == 4


def test_max_calls_counts():
    @ray.remote(max_calls=2)
    def fresh():
        return os.getpid()

    pids = [get(fresh.remote()) for _ in range(6)]
    assert all(pids.count(p) <= 2 for p in pids)


def test_without_max_calls_workers_are_used_again():
    assert len({get(pid.remote()) for _ in range(30)}) <= 4
