# SPDX-License-Identifier: Apache-2.0
"""ray.wait: how many, in which order, until when, and what it refuses."""

import random
import time

import pytest
import ray
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def after(seconds, value=None):
    time.sleep(seconds)
    return value


@ray.remote
def fail():
    raise ValueError("broken")


def test_one_of_many():
    slow, fast = after.remote(2), after.remote(0)
    ready, rest = ray.wait([slow, fast], timeout=30)
    assert ready == [fast] and rest == [slow]
    get(slow)


def test_a_finished_object_is_ready_at_once():
    ref = ray.put(1)
    assert ray.wait([ref], timeout=0) == ([ref], [])


def test_all_of_many():
    refs = [after.remote(0.01 * i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=5, timeout=30)
    assert ready == refs and rest == []


def test_both_lists_keep_the_order_of_the_input():
    refs = [ray.put(i) for i in range(20)]
    random.Random(1).shuffle(refs)
    ready, rest = ray.wait(refs, num_returns=20, timeout=30)
    assert ready == refs and rest == []


def test_exactly_num_returns_even_if_more_are_ready():
    refs = [ray.put(i) for i in range(10)]
    ready, rest = ray.wait(refs, num_returns=3, timeout=30)
    assert len(ready) == 3 and len(rest) == 7
    assert set(ready) | set(rest) == set(refs)
    assert rest == [ref for ref in refs if ref not in ready]
    assert ready == [ref for ref in refs if ref in ready]


def test_timeout_gives_what_is_there():
    slow, fast = after.remote(3), ray.put(1)
    start = time.monotonic()
    ready, rest = ray.wait([slow, fast], num_returns=2, timeout=0.3)
    assert 0.2 < time.monotonic() - start < 2.5
    assert ready == [fast] and rest == [slow]
    get(slow)


def test_timeout_zero_looks_only():
    slow = after.remote(1)
    start = time.monotonic()
    assert ray.wait([slow], timeout=0) == ([], [slow])
    assert time.monotonic() - start < 0.8
    get(slow)
    assert ray.wait([slow], timeout=0) == ([slow], [])


def test_none_waits_until_done():
    ref = after.remote(0.5)
    assert ray.wait([ref], timeout=None) == ([ref], [])
    ref = after.remote(0.1)
    assert ray.wait([ref]) == ([ref], [])


def test_an_empty_list():
    assert ray.wait([]) == ([], [])
    assert ray.wait([], timeout=1) == ([], [])


def test_a_failed_task_is_ready():
    ref = fail.remote()
    ready, rest = ray.wait([ref], timeout=30)
    assert ready == [ref] and rest == []
    with pytest.raises(ValueError):
        get(ref)


@pytest.mark.parametrize("thing", [1, None, "x", {"a": 1}], ids=repr)
def test_something_that_is_no_list_is_a_type_error(thing):
    with pytest.raises(TypeError):
        ray.wait(thing)


def test_a_single_ref_is_a_type_error():
    with pytest.raises(TypeError):
        ray.wait(ray.put(1))


def test_a_list_with_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        ray.wait([ray.put(1), 5])


def test_duplicates_are_a_value_error():
    ref = ray.put(1)
    with pytest.raises(ValueError):
        ray.wait([ref, ref])


@pytest.mark.parametrize("num_returns", [0, -1, 3])
def test_impossible_numbers_are_value_errors(num_returns):
    with pytest.raises(ValueError):
        ray.wait([ray.put(1), ray.put(2)], num_returns=num_returns)


def test_a_negative_timeout_is_a_value_error():
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], timeout=-1)


def test_positional_num_returns_is_refused():
    with pytest.raises(TypeError):
        ray.wait([ray.put(1)], 1)


def test_fetch_local_false():
    @ray.remote
    def big():
        return bytes(1_000_000)

    ref = big.remote()
    assert ray.wait([ref], fetch_local=False, timeout=30) == ([ref], [])
    assert len(get(ref)) == 1_000_000


def test_a_shrinking_list_yields_every_result_once():
    refs = [after.remote(0.001 * (i % 5), i) for i in range(200)]
    seen = []
    while refs:
        ready, refs = ray.wait(refs, timeout=30)
        assert len(ready) == 1
        seen.append(get(ready[0]))
    assert sorted(seen) == list(range(200))


def test_a_bounded_number_of_tasks_in_flight():
    todo, flying, total = list(range(60)), [], 0
    while todo or flying:
        while todo and len(flying) < 4:
            flying.append(after.remote(0, todo.pop()))
        ready, flying = ray.wait(flying, num_returns=min(2, len(flying)), timeout=30)
        total += sum(get(ready))
    assert total == sum(range(60))


def test_inside_a_task():
    @ray.remote
    def outer():
        refs = [after.remote(0, i) for i in range(4)]
        done = []
        while refs:
            ready, refs = ray.wait(refs)
            done += ray.get(ready)
        return sorted(done)

    assert get(outer.remote()) == [0, 1, 2, 3]


def test_waiting_does_not_consume():
    ref = after.remote(0, "value")
    for _ in range(3):
        assert ray.wait([ref], timeout=30) == ([ref], [])
    assert get(ref) == "value"
