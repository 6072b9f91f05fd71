# SPDX-License-Identifier: Apache-2.0
"""Refs as awaitables and as futures of the standard library."""

import asyncio
import concurrent.futures
import time

import pytest
import ray
from ray.exceptions import TaskCancelledError
from support import PATIENCE_S, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def identity(value):
    return value


@ray.remote
def after(seconds, value=None):
    time.sleep(seconds)
    return value


@ray.remote
def fail():
    raise ValueError("broken")


def run(coroutine):
    async def bounded():
        return await asyncio.wait_for(coroutine, PATIENCE_S)

    return asyncio.run(bounded())


def test_await():
    async def main():
        return await identity.remote(1), await ray.put(2)

    assert run(main()) == (1, 2)


def test_await_twice():
    async def main():
        ref = identity.remote("x")
        return await ref, await ref

    assert run(main()) == ("x", "x")


def test_gather():
    async def main():
        return await asyncio.gather(*[identity.remote(i) for i in range(100)])

    assert run(main()) == list(range(100))


def test_the_loop_turns_while_a_task_runs():
    async def main():
        ticks = 0
        future = asyncio.ensure_future(wrap(after.remote(0.5, "done")))
        while not future.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, future.result()

    async def wrap(ref):
        return await ref

    ticks, result = run(main())
    assert result == "done" and ticks > 5


def test_an_error_is_raised_by_await():
    async def main():
        with pytest.raises(ValueError, match="broken"):
            await fail.remote()
        return "caught"

    assert run(main()) == "caught"


def test_wait_for_gives_up():
    async def main():
        ref = after.remote(2, "late")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(ref.future()), 0.1)
        return await ref

    assert run(main()) == "late"


def test_wait_of_asyncio():
    async def main():
        tasks = [asyncio.ensure_future(wrap(after.remote(0.05 * i, i))) for i in range(4)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.ALL_COMPLETED)
        return sorted(task.result() for task in done), len(pending)

    async def wrap(ref):
        return await ref

    assert run(main()) == ([0, 1, 2, 3], 0)


def test_as_completed_of_asyncio():
    async def wrap(ref):
        return await ref

    async def main():
        found = []
        for future in asyncio.as_completed([wrap(identity.remote(i)) for i in range(10)]):
            found.append(await future)
        return sorted(found)

    assert run(main()) == list(range(10))


def test_future():
    future = identity.remote(5).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE_S) == 5 and future.done()


def test_future_of_a_finished_object():
    ref = identity.remote(6)
    get(ref)
    assert ref.future().result(PATIENCE_S) == 6


def test_future_of_an_error():
    future = fail.remote().future()
    with pytest.raises(ValueError, match="broken"):
        future.result(PATIENCE_S)
    assert isinstance(future.exception(PATIENCE_S), ValueError)


def test_future_callbacks():
    import threading

    called = threading.Event()
    identity.remote(1).future().add_done_callback(lambda future: called.set())
    assert called.wait(PATIENCE_S)


def test_as_completed_of_concurrent_futures():
    futures = [after.remote(0.01 * i, i).future() for i in range(8)]
    found = [future.result() for future in concurrent.futures.as_completed(futures, timeout=PATIENCE_S)]
    assert sorted(found) == list(range(8))


def test_a_thousand_futures():
    futures = [identity.remote(i).future() for i in range(1000)]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(1000))


def test_wrap_future():
    async def main():
        return await asyncio.wrap_future(identity.remote(9).future())

    assert run(main()) == 9


def test_inside_a_task():
    @ray.remote
    def outer():
        async def main():
            return await asyncio.gather(identity.remote(1), identity.remote(2))

        return asyncio.run(main())

    assert get(outer.remote()) == [1, 2]


def test_as_future_method():
    async def main():
        future = identity.remote(3).as_future()
        assert asyncio.isfuture(future)
        return await future

    assert run(main()) == 3


def test_a_cancelled_task_is_a_cancelled_error():
    async def main():
        ref = after.options(num_cpus=3).remote(60)
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            await ref
        return "caught"

    assert run(main()) == "caught"
