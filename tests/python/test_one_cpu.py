# SPDX-License-Identifier: Apache-2.0
"""The tightest case: a single CPU, where whatever must wait does wait."""

import os
import time

import pytest
import ray
from support import get

pytestmark = pytest.mark.usefixtures("one_cpu")


@pytest.fixture(scope="module")
def one_cpu():
    ray.shutdown()
    ray.init(num_cpus=1, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@ray.remote
def identity(value):
    return value


@ray.remote
def after(seconds, value):
    time.sleep(seconds)
    return value


@ray.remote
def wait_for(refs):
    return ray.get(refs[0])


@ray.remote
def descend(depth):
    return 0 if depth == 0 else 1 + ray.get(descend.remote(depth - 1))


def test_nested_tasks():
    assert get(descend.remote(5), timeout=90) == 5


def test_a_queue():
    assert get([identity.remote(i) for i in range(200)]) == list(range(200))


def test_waiting_for_a_task_sent_behind():
    get([identity.remote(i) for i in range(100)])
    late = identity.remote(after.remote(0.2, "late"))
    assert get([wait_for.remote([late]) for _ in range(4)]) == ["late"] * 4


def test_one_at_a_time():
    @ray.remote
    def span():
        start = time.monotonic()
        time.sleep(0.02)
        return start, time.monotonic()

    spans = sorted(get([span.remote() for _ in range(20)]))
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:]))


def test_fractions_share_the_cpu(tmp_path):
    @ray.remote(num_cpus=0.5)
    def meet(path, partner):
        with open(path, "w", encoding="utf-8"):
            pass
        deadline = time.monotonic() + 30
        while not os.path.exists(partner) and time.monotonic() < deadline:
            time.sleep(0.01)
        return os.path.exists(partner)

    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert get([meet.remote(a, b), meet.remote(b, a)]) == [True, True]


def test_tasks_without_a_cpu_run_beside_one_with():
    long = after.remote(2, "long")
    start = time.monotonic()
    assert get(identity.options(num_cpus=0).remote("free")) == "free"
    assert time.monotonic() - start < 30
    assert get(long) == "long"
