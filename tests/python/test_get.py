# SPDX-License-Identifier: Apache-2.0
"""ray.get: what it takes, when it gives up, which error it raises."""

import threading
import time

import pytest
import ray
from ray.exceptions import GetTimeoutError, RayError
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def identity(value):
    return value


@ray.remote
def after(seconds, value=None):
    time.sleep(seconds)
    return value


@ray.remote
def fail(message="broken"):
    raise ValueError(message)


def test_one_ref_and_a_list():
    refs = [identity.remote(i) for i in range(5)]
    assert get(refs[3]) == 3
    assert get(refs) == [0, 1, 2, 3, 4]
    assert get([]) == []


def test_twice_gives_equal_values():
    ref = identity.remote({"k": [1]})
    first, second = get(ref), get(ref)
    assert first == second
    first["k"].append(2)
    assert get(ref) == {"k": [1]}, "a value handed out must not be the stored one"


def test_duplicates_are_allowed():
    ref = identity.remote("x")
    other = ray.put("y")
    assert get([ref, ref, other, ref]) == ["x", "x", "y", "x"]


def test_order_is_that_of_the_list():
    slow, fast = after.remote(0.3, "slow"), after.remote(0, "fast")
    assert get([slow, fast]) == ["slow", "fast"]


@pytest.mark.parametrize("thing", [None, 1, "ref", b"ref", {"a": 1}, object()], ids=lambda x: type(x).__name__)
def test_something_that_is_no_ref_is_a_value_error(thing):
    with pytest.raises(ValueError):
        get(thing)


def test_a_tuple_or_a_set_of_refs_is_refused():
    ref = ray.put(1)
    with pytest.raises(ValueError):
        get((ref, ref))
    with pytest.raises(ValueError):
        get({ref})


@pytest.mark.parametrize("thing", [None, 1, "x", [1]], ids=repr)
def test_a_list_with_something_else_is_a_type_error(thing):
    with pytest.raises(TypeError):
        get([ray.put(1), thing])


def test_a_nested_list_of_refs_is_a_type_error():
    with pytest.raises(TypeError):
        get([[ray.put(1)]])


def test_timeout():
    ref = after.remote(3, "late")
    start = time.monotonic()
    with pytest.raises(GetTimeoutError):
        ray.get(ref, timeout=0.2)
    assert 0.15 < time.monotonic() - start < 2.5
    # the task goes on, and the result can still be had
    assert get(ref) == "late"


def test_the_timeout_is_a_timeout_error():
    ref = after.remote(1)
    with pytest.raises(TimeoutError):
        ray.get(ref, timeout=0.05)
    assert issubclass(GetTimeoutError, TimeoutError) and issubclass(GetTimeoutError, RayError)
    get(ref)


def test_timeout_zero_is_now_or_never():
    ref = after.remote(1, "x")
    with pytest.raises(GetTimeoutError):
        ray.get(ref, timeout=0)
    assert get(ref) == "x"
    assert ray.get(ref, timeout=0) == "x"
    assert ray.get(ray.put(5), timeout=0) == 5


def test_timeout_counts_for_the_whole_list():
    refs = [identity.remote(1), after.remote(2)]
    start = time.monotonic()
    with pytest.raises(GetTimeoutError):
        ray.get(refs, timeout=0.3)
    assert time.monotonic() - start < 1.8
    get(refs)


def test_a_timeout_that_is_not_needed():
    assert ray.get(identity.remote(1), timeout=30.5) == 1
    assert ray.get([], timeout=0) == []


def test_the_error_of_a_task_is_raised():
    with pytest.raises(ValueError, match="broken"):
        get(fail.remote())
    with pytest.raises(ValueError, match="broken"):
        get([identity.remote(1), fail.remote()])


def test_an_error_is_raised_each_time():
    ref = fail.remote("again")
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            get(ref)


def test_the_first_error_does_not_wait_for_the_rest():
    slow = after.remote(8)
    start = time.monotonic()
    with pytest.raises(ValueError):
        get([slow, fail.remote()])
    assert time.monotonic() - start < 6
    ray.cancel(slow, force=True)


def test_from_several_threads():
    refs = [after.remote(0.02, i) for i in range(20)]
    results = [None] * 4

    def read(slot):
        results[slot] = get(refs)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [list(range(20))] * 4


def test_submitting_from_several_threads():
    results = {}

    def work(base):
        results[base] = get([identity.remote(base + i) for i in range(200)])

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {1000 * i: list(range(1000 * i, 1000 * i + 200)) for i in range(4)}


def test_a_thread_may_wait_while_another_submits():
    first = after.remote(0.5, "first")
    got = []
    thread = threading.Thread(target=lambda: got.append(get(first)))
    thread.start()
    assert get(identity.remote("second")) == "second"
    thread.join(60)
    assert got == ["first"]


def test_inside_a_task():
    @ray.remote
    def outer():
        inner = identity.remote(20)
        return ray.get(inner) + ray.get([inner, ray.put(1)])[1]

    assert get(outer.remote()) == 21


def test_a_timeout_inside_a_task():
    @ray.remote
    def impatient(refs):
        try:
            ray.get(refs[0], timeout=0.2)
        except GetTimeoutError:
            return "gave up"
        return "got it"

    assert get(impatient.remote([after.remote(2)])) == "gave up"


def test_positional_timeout_is_refused():
    with pytest.raises(TypeError):
        ray.get(ray.put(1), 5)
