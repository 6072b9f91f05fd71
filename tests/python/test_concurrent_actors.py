# SPDX-License-Identifier: Apache-2.0
"""Actors that run several calls at once: in threads, or in an event loop."""

import asyncio
import os
import signal
import threading
import time

import pytest
import ray
from ray import exceptions
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote(max_concurrency=4)
class Threaded:
    def __init__(self):
        self.barrier = threading.Barrier(4)
        self.lock = threading.Lock()
        self.now = self.most = 0

    def meet(self):
        self.barrier.wait(20)
        return threading.get_ident()

    def busy(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1

    def peak(self):
        return self.most

    def task(self):
        time.sleep(0.1)
        return ray.get_runtime_context().get_task_id()

    def ask(self, other):
        return ray.get(other.peak.remote())

    def nap(self, seconds):
        time.sleep(seconds)

    def fail(self):
        raise KeyError("here")

    def pid(self):
        return os.getpid()

    def leave(self):
        ray.actor.exit_actor()


@ray.remote
class Async:
    def __init__(self):
        self.event = asyncio.Event()
        self.waiting = 0
        self.order = []

    async def wait(self):
        self.waiting += 1
        await self.event.wait()
        return self.waiting

    async def go(self):
        self.event.set()

    async def add(self, number):
        self.order.append(number)
        return number

    def plain(self):
        return threading.current_thread().name, list(self.order)

    async def fetch(self, refs):
        return [await ref for ref in refs]

    async def fail(self):
        raise LookupError("not here")

    async def nap(self, seconds):
        await asyncio.sleep(seconds)

    async def task(self):
        await asyncio.sleep(0.05)
        return ray.get_runtime_context().get_task_id()

    async def pid(self):
        return os.getpid()

    async def leave(self):
        ray.actor.exit_actor()


# ---- threads --------------------------------------------------------------------------------------------------------


def test_as_many_threads_as_asked_for():
    actor = Threaded.remote()
    assert len(set(get([actor.meet.remote() for _ in range(4)]))) == 4
    get([actor.busy.remote() for _ in range(40)])
    assert get(actor.peak.remote()) == 4


def test_each_thread_has_its_own_task():
    actor = Threaded.remote()
    refs = [actor.task.remote() for _ in range(4)]
    assert get(refs) == [ref.task_id().hex() for ref in refs]


def test_a_waiting_method_does_not_hold_up_others():
    one, two = Threaded.remote(), Threaded.remote()
    naps = [one.nap.remote(1) for _ in range(3)]
    start = time.monotonic()
    assert get(one.ask.remote(two)) == 0
    assert time.monotonic() - start < 0.9
    with pytest.raises(KeyError):
        get(one.fail.remote())
    get(naps)


def test_a_death_takes_only_what_had_started():
    actor = Threaded.options(max_restarts=1).remote()
    pid = get(actor.pid.remote())
    running = [actor.nap.remote(30) for _ in range(4)]
    queued = [actor.pid.remote() for _ in range(3)]
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    for ref in running:
        with pytest.raises(exceptions.ActorUnavailableError):
            get(ref)
    assert len(set(get(queued))) == 1 and get(queued)[0] != pid


def test_exit_waits_for_the_other_threads():
    actor = Threaded.remote()
    nap = actor.nap.remote(0.5)
    time.sleep(0.1)
    with pytest.raises(exceptions.ActorDiedError):
        get(actor.leave.remote())
    assert get(nap) is None


# ---- event loops ----------------------------------------------------------------------------------------------------


def test_a_thousand_calls_wait_at_once():
    actor = Async.remote()
    waiting = [actor.wait.remote() for _ in range(900)]
    get(actor.go.remote())
    assert get(waiting) == [900] * 900


def test_max_concurrency_bounds_them():
    actor = Async.options(max_concurrency=3).remote()
    waiting = [actor.wait.remote() for _ in range(3)]
    blocked = actor.add.remote(1)
    assert ray.wait([blocked], timeout=0.5)[0] == []
    ray.cancel(waiting[0])
    assert get(blocked) == 1
    get(actor.go.remote())
    assert len(get(waiting[1:])) == 2


def test_calls_begin_in_order_and_plain_methods_run_in_the_loop():
    actor = Async.remote()
    assert get([actor.add.remote(i) for i in range(200)]) == list(range(200))
    name, order = get(actor.plain.remote())
    assert order == list(range(200))


def test_awaiting_refs_and_errors():
    actor = Async.remote()
    assert get(actor.fetch.remote([ray.put(i) for i in range(5)])) == list(range(5))
    with pytest.raises(LookupError, match="not here"):
        get(actor.fail.remote())
    refs = [actor.task.remote() for _ in range(5)]
    assert get(refs) == [ref.task_id().hex() for ref in refs]


def test_cancel_of_a_running_call():
    actor = Async.remote()
    nap = actor.nap.remote(60)
    time.sleep(0.3)
    ray.cancel(nap)
    with pytest.raises(exceptions.TaskCancelledError):
        get(nap)
    assert get(actor.add.remote(1)) == 1


def test_calls_under_way_end_when_the_actor_ends_itself():
    actor = Async.remote()
    get(actor.pid.remote())
    nap, leave = actor.nap.remote(1), actor.leave.remote()
    with pytest.raises(exceptions.RayActorError):
        get(leave)
    assert get(nap) is None


@pytest.mark.ours_only("in Ray the actor never ends")
def test_endless_calls_are_cancelled_some_time_after_the_actor_ended_itself():
    def hurry(_):
        os.environ["RAY_actor_graceful_shutdown_timeout_ms"] = "300"
        return os.getpid()

    actor = Async.remote()
    pid = get(actor.__ray_call__.remote(hurry))
    endless = actor.wait.remote()
    actor.leave.remote()
    with pytest.raises(exceptions.TaskCancelledError):
        get(endless)
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_restart_of_an_async_actor():
    actor = Async.options(max_restarts=1, max_task_retries=1).remote()
    pid = get(actor.pid.remote())
    naps = [actor.nap.remote(0.5) for _ in range(20)]
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    assert get(naps) == [None] * 20
    assert get(actor.pid.remote()) != pid
