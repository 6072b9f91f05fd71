# SPDX-License-Identifier: Apache-2.0
"""ray.util.queue."""

import asyncio
import queue
import time

import pytest
import ray
from ray.util.queue import Empty, Full, Queue
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@pytest.fixture
def make():
    made = []

    def make(*args, **kwargs):
        made.append(Queue(*args, **kwargs))
        return made[-1]

    yield make
    for q in made:
        q.shutdown(force=True)


def test_in_order_and_counted(make):
    q = make()
    for i in range(5):
        q.put(i)
    assert len(q) == q.size() == q.qsize() == 5 and not q.empty() and not q.full()
    assert [q.get() for _ in range(5)] == list(range(5))
    assert q.empty() and q.qsize() == 0


def test_classes_of_errors():
    assert issubclass(Empty, queue.Empty) and issubclass(Full, queue.Full)


def test_full_and_empty(make):
    q = make(2)
    q.put("a")
    q.put("b", block=False)
    assert q.full()
    for put in (lambda: q.put("c", block=False), lambda: q.put_nowait("c"), lambda: q.put("c", timeout=0.1)):
        with pytest.raises(Full):
            put()
    assert [q.get_nowait(), q.get(block=False)] == ["a", "b"]
    for take in (lambda: q.get(block=False), q.get_nowait, lambda: q.get(timeout=0.1)):
        with pytest.raises(Empty):
            take()


def test_batches_are_all_or_nothing(make):
    q = make(3)
    q.put_nowait_batch(iter([1, 2]))
    with pytest.raises(Full):
        q.put_nowait_batch([3, 4])
    with pytest.raises(Empty):
        q.get_nowait_batch(3)
    assert q.get_nowait_batch(0) == [] and q.get_nowait_batch(2) == [1, 2] and q.empty()


def test_who_waits_is_served(make):
    q = make(1)

    @ray.remote(num_cpus=0)
    def take(q):
        return q.get()

    waiting = [take.remote(q) for _ in range(3)]
    for i in range(3):
        q.put(i)
    assert sorted(get(waiting)) == [0, 1, 2]

    @ray.remote(num_cpus=0)
    def give(q):
        q.put("late")  # full: it waits
        return time.monotonic()

    q.put("first")
    given = give.remote(q)
    assert ray.wait([given], timeout=0.3) == ([], [given])
    assert q.get() == "first" and q.get() == "late" and get(given) > 0


def test_async_forms(make):
    q = make(1)

    async def main():
        waiting = asyncio.ensure_future(q.get_async())
        await q.put_async("x")
        assert await waiting == "x"
        await q.put_async("y", block=False)
        with pytest.raises(Full):
            await q.put_async("z", block=False)
        with pytest.raises(Full):
            await q.put_async("z", timeout=0.1)
        assert await q.get_async(block=False) == "y"
        with pytest.raises(Empty):
            await q.get_async(block=False)
        with pytest.raises(Empty):
            await q.get_async(timeout=0.1)

    asyncio.run(main())


def test_a_timeout_of_a_get_takes_nothing(make):
    q = make()
    with pytest.raises(Empty):
        q.get(timeout=0.05)
    q.put(1)
    assert q.get(timeout=5) == 1


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda q: q.put(1, timeout=-1), ValueError, "'timeout' must be a non-negative number"),
        (lambda q: q.get(timeout=-1), ValueError, "'timeout' must be a non-negative number"),
        (lambda q: q.put_nowait_batch(1), TypeError, "Argument 'items' must be an Iterable"),
        (lambda q: q.get_nowait_batch("1"), TypeError, "Argument 'num_items' must be an int"),
        (lambda q: q.get_nowait_batch(-1), ValueError, "'num_items' must be nonnegative"),
    ],
)
def test_misuse(make, call, error, text):
    with pytest.raises(error, match=text):
        call(make())


def test_options_of_its_actor(make):
    q = make(actor_options={"name": "the queue", "num_cpus": 1})
    q.put(1)
    assert get(ray.get_actor("the queue").qsize.remote()) == 1
    assert eventually(lambda: ray.available_resources().get("CPU", 0) == 1)


def test_shutdown():
    q = Queue()
    q.put(1)
    actor = q.actor
    q.shutdown()
    q.shutdown()  # once more: nothing
    with pytest.raises(ray.exceptions.RayActorError):
        get(actor.qsize.remote())


def test_shutdown_does_not_wait_for_ever():
    q = Queue(1)
    q.put(1)
    stuck = q.actor.put.remote(2)
    started = time.monotonic()
    q.shutdown(force=True)
    assert time.monotonic() - started < 4
    with pytest.raises(ray.exceptions.RayActorError):
        get(stuck)
