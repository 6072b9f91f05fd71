# SPDX-License-Identifier: Apache-2.0
"""Generators in tasks and actors: their items come one by one, while they run."""

import asyncio
import copy
import os
import pickle
import time

import numpy as np
import pytest
import ray
from support import PATIENCE_S, UNDER_RAY, count_lines, eventually, get, note

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def count(n, fail_at=None, pause=0.0):
    for i in range(n):
        if i == fail_at:
            raise ValueError(f"no item {i}")
        yield i
        time.sleep(pause)


def results(generator):
    """The values of all items; the class of those that are errors."""
    found = []
    for ref in generator:
        try:
            found.append(get(ref))
        except Exception as error:  # noqa: BLE001
            found.append(type(error).__name__)
    return found


# ---- items ------------------------------------------------------------------------------------------------------------


def test_a_generator_function_streams():
    generator = count.remote(3)
    assert isinstance(generator, ray.ObjectRefGenerator)
    assert iter(generator) is generator
    refs = list(generator)
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert get(refs) == [0, 1, 2]
    with pytest.raises(StopIteration):
        next(generator)


def test_no_items():
    generator = count.remote(0)
    assert list(generator) == []
    assert generator.is_finished()


def test_items_come_while_the_task_runs(tmp_path):
    @ray.remote
    def until_told():
        yield os.getpid()
        while not (tmp_path / "go on").exists():
            time.sleep(0.01)
        yield "told"

    generator = until_told.remote()
    assert get(next(generator)) > 0
    (tmp_path / "go on").touch()
    assert get(next(generator)) == "told"


def test_large_items_and_items_with_refs():
    @ray.remote
    def mixed():
        for i in range(4):
            yield np.full(200_000, i)
        yield [ray.put("inner"), count.options(num_returns=1).remote(1)]

    *arrays, nested = list(mixed.remote())
    for i, array in enumerate(get(arrays)):
        assert array.sum() == 200_000 * i
    inner = get(nested)
    assert get(inner) == ["inner", 0]


def test_items_are_arguments_of_tasks():
    @ray.remote
    def double(value):
        return 2 * value

    assert get([double.remote(ref) for ref in count.remote(4)]) == [0, 2, 4, 6]


def test_arguments_are_checked_and_resolved():
    with pytest.raises(TypeError):
        count.remote()
    assert results(count.remote(ray.put(2))) == [0, 1]


def test_streams_of_a_task_that_reads_another_stream():
    @ray.remote
    def through(n):
        for ref in count.remote(n):
            yield ray.get(ref) + 10

    assert results(through.remote(3)) == [10, 11, 12]


def test_many_items():
    assert sum(get(list(count.remote(2000)))) == 1999 * 1000


# ---- the generator object -----------------------------------------------------------------------------------------


def test_completed_is_ready_at_the_end():
    generator = count.remote(2, None, 0.2)
    assert ray.wait([generator.completed()], timeout=0)[0] == []
    assert get(generator.completed()) is None
    assert results(generator) == [0, 1]


def test_next_ready_and_is_finished():
    generator = count.remote(1, None, 0.3)
    assert eventually(generator.next_ready)
    assert not generator.is_finished()
    next(generator)
    assert not generator.next_ready()
    assert eventually(generator.is_finished)
    assert not generator.next_ready()


def test_wait_takes_generators_and_refs():
    slow, fast, value = count.remote(1, None, 0), count.remote(3), ray.put(1)
    assert next(slow) is not None
    ready, rest = ray.wait([fast, value], num_returns=2, timeout=PATIENCE_S)
    assert ready == [fast, value] and rest == []
    next(fast)
    ready, _ = ray.wait([slow, fast], num_returns=2, timeout=PATIENCE_S)
    assert ready == [slow, fast], "the end of a stream is ready, too"
    assert results(fast) == [1, 2]
    waiting = count.remote(1, None, 0)
    blocked = count.options(num_cpus=2).remote(1)
    assert ray.wait([waiting, blocked], num_returns=2, timeout=PATIENCE_S)[0] == [waiting, blocked]


def test_wait_with_a_limit():
    @ray.remote
    def late():
        time.sleep(1)
        yield 1

    generator = late.remote()
    assert ray.wait([generator], timeout=0.05) == ([], [generator])
    assert generator._next_sync(0.05).is_nil()
    assert ray.wait([generator], timeout=PATIENCE_S) == ([generator], [])
    assert results(generator) == [1]


def test_misuse():
    generator = count.remote(1)
    for serialize in (pickle.dumps, count.remote, ray.put, copy.copy):
        with pytest.raises(TypeError):
            serialize(generator)
    with pytest.raises(TypeError):
        ray.wait(generator)
    with pytest.raises(ValueError):
        ray.wait([generator, generator])
    with pytest.raises(TypeError):
        get([generator])
    assert ray.get(generator) is generator
    for method in (generator.send, generator.throw):
        with pytest.raises(NotImplementedError):
            method(ValueError())
    with pytest.raises(NotImplementedError):
        generator.close()
    assert results(generator) == [0]


def test_only_generators_stream():
    def plain():
        return 1

    for kind in ("streaming", "dynamic"):
        with pytest.raises(ValueError, match="generator"):
            ray.remote(num_returns=kind)(plain)
        with pytest.raises(ValueError, match="generator"):
            ray.remote(plain).options(num_returns=kind).remote()
        with pytest.raises(ValueError, match="generator"):
            ray.method(num_returns=kind)(plain)
    with pytest.raises(ValueError):
        count.options(_generator_backpressure_num_objects=0).remote(1)


def test_async_iteration():
    async def read(generator):
        return [await ref async for ref in generator]

    async def main():
        return await asyncio.gather(read(count.remote(3, None, 0.05)), read(count.remote(2)))

    assert asyncio.run(main()) == [[0, 1, 2], [0, 1]]


def test_async_iteration_ends_with_the_error():
    async def main():
        found = []
        async for ref in count.remote(3, 1):
            try:
                found.append(await ref)
            except ValueError:
                found.append("error")
        return found

    assert asyncio.run(main()) == [0, "error"]


# ---- errors -----------------------------------------------------------------------------------------------------------


def test_an_exception_is_the_last_item():
    generator = count.remote(5, 2)
    assert results(generator) == [0, 1, "RayTaskError(ValueError)"]
    assert get(generator.completed()) is None
    assert generator.is_finished()
    assert results(generator) == []


def test_an_item_that_does_not_pickle_is_the_last():
    @ray.remote
    def unpicklable():
        import threading

        yield 1
        yield threading.Lock()
        yield 2

    assert results(unpicklable.remote()) == [1, "RayTaskError(TypeError)"]


def test_a_failed_argument():
    @ray.remote
    def bad():
        raise KeyError("x")

    generator = count.remote(bad.remote())
    assert results(generator) == ["RayTaskError(KeyError)"]
    with pytest.raises(KeyError):
        get(generator.completed())


def test_a_crash_is_behind_the_last_item():
    @ray.remote(max_retries=0)
    def crash():
        yield 1
        yield 2
        time.sleep(0.2)
        os._exit(1)

    generator = crash.remote()
    assert results(generator) == [1, 2, "WorkerCrashedError"]
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        get(generator.completed())
    assert generator.is_finished()


def test_a_retry_goes_on_where_the_reader_is(tmp_path):
    runs = tmp_path / "runs"

    @ray.remote(max_retries=2)
    def crashes():
        attempt = count_lines(runs)
        note(runs)
        for i in range(6):
            if attempt < 2 and i == 2 * (attempt + 1):
                time.sleep(0.2)
                os._exit(1)
            yield (i, attempt)

    assert results(crashes.remote()) == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert count_lines(runs) == 3


def test_retried_exceptions(tmp_path):
    @ray.remote(max_retries=1, retry_exceptions=[ValueError])
    def once():
        for i in range(3):
            if i == 1 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise ValueError("once")
            yield i

    assert results(once.remote()) == [0, 1, 2]
    always = count.options(max_retries=1, retry_exceptions=True)
    assert results(always.remote(3, 1)) == [0, "RayTaskError(ValueError)"]


# ---- cancel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_cancel_of_a_running_generator(force):
    generator = count.remote(1000, None, 0.05)
    assert get(next(generator)) == 0
    ray.cancel(generator, force=force)
    found = results(generator)
    assert "Cancelled" in found[-1] or (force and "Crashed" in found[-1]), found
    assert len(found) < 1000
    with pytest.raises(ray.exceptions.RayError):
        get(generator.completed())


def test_cancel_before_it_starts():
    holders = [count.remote(20, None, 0.05) for _ in range(2)]
    for holder in holders:
        next(holder)
    generator = count.remote(5)
    ray.cancel(generator)
    assert results(generator) == ["TaskCancelledError"]
    for holder in holders:
        ray.cancel(holder)


def test_cancel_ends_the_wait_for_the_reader():
    generator = count.options(_generator_backpressure_num_objects=1).remote(1000)
    assert get(next(generator)) == 0
    time.sleep(0.2)
    ray.cancel(generator)
    found = results(generator)
    assert "Cancelled" in found[-1] and len(found) < 10


# ---- back-pressure, and readers that leave ------------------------------------------------------------------------


@ray.remote
def noted(path, n):
    for i in range(n):
        note(path)
        yield i


def test_back_pressure(tmp_path):
    made = tmp_path / "made"
    generator = noted.options(_generator_backpressure_num_objects=3).remote(made, 10)
    assert eventually(lambda: count_lines(made) == 3)
    time.sleep(0.2)
    assert count_lines(made) == 3
    for i in range(10):
        assert get(next(generator)) == i
        assert eventually(lambda i=i: count_lines(made) == min(10, i + 4))
    assert results(generator) == []


def test_a_generator_that_waits_lends_its_cpu():
    waiting = [count.options(_generator_backpressure_num_objects=1).remote(3) for _ in range(4)]
    assert results(count.remote(2)) == [0, 1]
    assert [results(generator) for generator in waiting] == [[0, 1, 2]] * 4


def test_without_a_limit_it_runs_ahead(tmp_path):
    made = tmp_path / "made"
    generator = noted.options(_generator_backpressure_num_objects=-1).remote(made, 50)
    assert eventually(lambda: count_lines(made) == 50)
    assert results(generator) == list(range(50))


def test_a_deleted_generator_runs_on_and_frees_its_items(tmp_path):
    made = tmp_path / "made"
    generator = noted.options(_generator_backpressure_num_objects=2).remote(made, 20)
    kept = next(generator)
    done = generator.completed()
    del generator
    assert get(done) is None
    assert count_lines(made) == 20
    assert get(kept) == 0


@pytest.mark.ours_only("reads our tables")
def test_nothing_is_left():
    import ray_mpi

    @ray.remote
    def large(n):
        for _ in range(n):
            yield np.zeros(100_000)

    def left():
        return ray_mpi._private_stats()["owned_objects"]

    before = left()
    for n, read in ((5, 0), (5, 2), (5, 5), (0, 0)):
        generator = large.remote(n)
        refs = [next(generator) for _ in range(read)]
        get(refs)
        del generator, refs
    dynamic = large.options(num_returns="dynamic").remote(3)
    assert len(get(dynamic)) == 3
    del dynamic
    failed = count.remote(4, 2)
    next(failed)
    del failed
    assert eventually(lambda: left() <= before)
    assert eventually(lambda: ray_mpi._private_stats()["object_store_used_bytes"] == 0)


# ---- a fixed number, and all at once --------------------------------------------------------------------------------


def each(refs):
    found = []
    for ref in refs:
        try:
            found.append(get(ref))
        except Exception as error:  # noqa: BLE001
            found.append(type(error).__name__)
    return found


def test_a_number_of_returns():
    assert each(count.options(num_returns=3).remote(3)) == [0, 1, 2]
    assert each(count.options(num_returns=2).remote(5)) == [0, 1], "the rest is not asked for"
    assert each(count.options(num_returns=3).remote(2)) == [0, 1, "RayTaskError(ValueError)"]
    assert each(count.options(num_returns=3).remote(3, 1)) == [0, *["RayTaskError(ValueError)"] * 2]
    assert get(count.options(num_returns=1).remote(3)) == 0
    assert count.options(num_returns=0).remote(3) is None


def test_dynamic():
    ref = count.options(num_returns="dynamic").remote(3)
    assert isinstance(ref, ray.ObjectRef)
    refs = get(ref)
    assert len(refs) == 3
    assert not isinstance(refs, ray.ObjectRefGenerator)
    assert [get(item) for item in refs] == [0, 1, 2]
    assert len(refs) == 0
    assert [get(item) for item in get(ref)] == [0, 1, 2]


def test_dynamic_as_argument_and_with_errors():
    @ray.remote
    def total(refs):
        return sum(ray.get(list(refs)))

    @ray.remote
    def large(n):
        for i in range(n):
            yield np.full(50_000, i)

    assert get(total.remote(count.options(num_returns="dynamic").remote(5))) == 10
    arrays = get(large.options(num_returns="dynamic").remote(3))
    assert [int(get(ref)[0]) for ref in arrays] == [0, 1, 2]
    assert results(get(count.options(num_returns="dynamic").remote(3, 1))) == [0, "RayTaskError(ValueError)"]


# ---- actors -------------------------------------------------------------------------------------------------------


@ray.remote
class Plain:
    def __init__(self):
        self.made = 0

    def values(self, n, fail_at=None):
        for i in range(n):
            if i == fail_at:
                raise ValueError("no")
            self.made += 1
            yield i

    @ray.method(num_returns="streaming")
    def streamed(self):
        yield self.made

    @ray.method(num_returns=2)
    def two(self):
        yield 1
        yield 2

    @ray.method(_generator_backpressure_num_objects=1)
    def slowly(self, n):
        yield from range(n)

    def pid(self):
        return os.getpid()

    def crash_at(self, n, path):
        attempt = count_lines(path)
        note(path)
        for i in range(n):
            if attempt == 0 and i == 2:
                time.sleep(0.2)
                os._exit(1)
            yield (i, attempt)


def test_methods_of_an_actor():
    actor = Plain.remote()
    assert results(actor.values.remote(3)) == [0, 1, 2]
    assert results(actor.streamed.remote()) == [3]
    assert get(actor.two.remote()) == [1, 2]
    assert results(actor.values.remote(3, 1)) == [0, "RayTaskError(ValueError)"]
    assert [get(ref) for ref in get(actor.values.options(num_returns="dynamic").remote(2))] == [0, 1]
    assert results(actor.slowly.remote(5)) == list(range(5))
    with pytest.raises(ValueError, match="generator"):
        actor.pid.options(num_returns="streaming").remote()


def test_a_deleted_generator_lets_its_actor_go_on():
    actor = Plain.remote()
    generator = actor.slowly.remote(100)
    next(generator)
    del generator
    assert get(actor.pid.remote()) > 0


def test_an_actors_death_ends_its_streams():
    actor = Plain.remote()
    generator = actor.slowly.remote(100)
    assert get(next(generator)) == 0
    ray.kill(actor)
    with pytest.raises(ray.exceptions.RayActorError):
        get(actor.pid.remote())  # behind the generator, which waits for its reader
    assert results(generator)[-1] in ("ActorDiedError", "RayActorError")


def test_max_task_retries_of_a_generator(tmp_path):
    actor = Plain.options(max_restarts=1, max_task_retries=1).remote()
    assert results(actor.crash_at.remote(4, tmp_path / "runs")) == [(0, 0), (1, 0), (2, 1), (3, 1)]


def test_generators_of_a_threaded_actor(tmp_path):
    @ray.remote(max_concurrency=4)
    class Threaded:
        def meet(self, n, mine, other):
            for i in range(n):
                (tmp_path / f"{mine}{i}").touch()
                assert eventually((tmp_path / f"{other}{i}").exists)
                yield (mine, i)

    actor = Threaded.remote()
    a, b = actor.meet.remote(3, "a", "b"), actor.meet.remote(3, "b", "a")
    assert results(a) == [("a", i) for i in range(3)]
    assert results(b) == [("b", i) for i in range(3)]


@ray.remote
class Asynchronous:
    def __init__(self):
        self.made = 0
        self.ended = 0

    async def values(self, n, fail_at=None, pause=0):
        try:
            for i in range(n):
                if i == fail_at:
                    raise ValueError("no")
                await asyncio.sleep(pause)
                self.made += 1
                yield i
        finally:
            self.ended += 1

    def plain(self, n):
        yield from range(n)

    async def state(self):
        return self.made, self.ended


def test_async_generators():
    actor = Asynchronous.remote()
    streams = [actor.values.remote(5, None, 0.02) for _ in range(3)]
    assert [results(stream) for stream in streams] == [list(range(5))] * 3
    assert results(actor.values.remote(5, 2)) == [0, 1, "RayTaskError(ValueError)"]
    assert results(actor.plain.remote(3)) == [0, 1, 2]
    assert get(actor.state.remote()) == (17, 4)


def test_back_pressure_of_an_async_generator_does_not_hold_its_loop():
    actor = Asynchronous.remote()
    limited = actor.values.options(_generator_backpressure_num_objects=2)
    generator = limited.remote(6)
    assert eventually(lambda: get(actor.state.remote())[0] == 2)
    time.sleep(0.1)
    assert get(actor.state.remote())[0] == 2
    assert results(generator) == list(range(6))
    abandoned = limited.remote(6)
    next(abandoned)
    del abandoned
    assert eventually(lambda: get(actor.state.remote()) == (12, 2))


def test_cancel_of_an_async_generator():
    actor = Asynchronous.remote()
    generator = actor.values.remote(1000, None, 0.02)
    next(generator)
    ray.cancel(generator)
    found = results(generator)
    assert "Cancelled" in found[-1] and len(found) < 1000
    assert eventually(lambda: get(actor.state.remote())[1] == 1)


def test_the_death_of_who_called_closes_an_actors_generator():
    if UNDER_RAY:
        pytest.skip("Ray lets it run")
    actor = Asynchronous.remote()

    @ray.remote(max_retries=0)
    def opens(actor):
        generator = actor.values.options(_generator_backpressure_num_objects=1).remote(1000)
        next(generator)
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        get(opens.remote(actor))
    assert eventually(lambda: get(actor.state.remote())[1] == 1)
    assert get(actor.state.remote())[0] < 10
