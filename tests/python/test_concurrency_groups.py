# SPDX-License-Identifier: Apache-2.0
"""Concurrency groups: methods of an actor that run apart from its others, so many at once."""

import asyncio
import os
import threading
import time

import pytest
import ray
from support import eventually, get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote(concurrency_groups={"io": 2, "compute": 3})
class Threaded:
    def __init__(self):
        self.lock = threading.Lock()
        self.gates = {name: threading.Event() for name in ("plain", "io", "compute")}
        self.now, self.most, self.seen = {}, {}, []

    def _run(self, name, number):
        with self.lock:
            self.seen.append((name, number))
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
        assert self.gates[name].wait(20)
        with self.lock:
            self.now[name] -= 1
        return threading.get_ident()

    def plain(self, number=0):
        return self._run("plain", number)

    @ray.method(concurrency_group="io")
    def io(self, number=0):
        return self._run("io", number)

    @ray.method(concurrency_group="compute")
    def compute(self, number=0):
        return self._run("compute", number)

    @ray.method(concurrency_group="io")
    def read(self):
        return threading.get_ident()

    def open(self, name):
        self.gates[name].set()

    def report(self):
        return self.most, self.seen

    def pid(self):
        return os.getpid()


@ray.remote(concurrency_groups={"io": 2, "slow": 1})
class Async:
    def __init__(self):
        self.now = self.most = 0

    @ray.method(concurrency_group="io")
    async def io(self):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.05)
        self.now -= 1
        return threading.get_ident()

    @ray.method(concurrency_group="slow")
    async def block(self, seconds):
        time.sleep(seconds)  # the loop of its group, and no other
        return threading.get_ident()

    @ray.method(concurrency_group="slow")
    async def nap(self, seconds):
        await asyncio.sleep(seconds)

    async def plain(self):
        return threading.get_ident()

    async def peak(self):
        return self.most


def test_each_group_has_its_own_bound_and_threads():
    actor = Threaded.remote()
    refs = {name: [getattr(actor, name).remote(i) for i in range(6)] for name in ("io", "compute")}
    deadline = time.monotonic() + 20
    while get(actor.report.remote())[0] != {"io": 2, "compute": 3} and time.monotonic() < deadline:
        time.sleep(0.02)
    for name in refs:
        get(actor.open.remote(name))
    threads = {name: set(get(refs[name])) for name in refs}
    assert get(actor.report.remote())[0] == {"io": 2, "compute": 3}
    assert len(threads["io"]) == 2 and len(threads["compute"]) == 3
    assert not threads["io"] & threads["compute"]


def test_a_blocked_group_holds_up_no_other():
    actor = Threaded.remote()
    stuck = [actor.plain.remote(), *(actor.compute.remote(i) for i in range(9))]
    get(actor.read.remote())
    get(actor.open.options(concurrency_group="io").remote("plain"))
    get(actor.open.remote("compute"))
    get(stuck)


def test_the_group_of_one_call():
    actor = Threaded.remote()
    io = {get(actor.read.remote()) for _ in range(10)}
    get(actor.open.remote("plain"))
    there = {get(actor.plain.options(concurrency_group="io").remote()) for _ in range(10)}
    assert len(io | there) <= 2
    assert get(actor.plain.remote()) not in io | there


def test_a_call_into_a_group_that_is_not_declared():
    actor = Threaded.remote()
    lost = actor.read.options(concurrency_group="nowhere").remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        get(lost)


@pytest.mark.ours_only("Ray's actor is dead then")
def test_an_actor_survives_a_call_into_a_group_that_is_not_declared():
    actor = Threaded.remote()
    with pytest.raises(ray.exceptions.ActorDiedError, match="no concurrency group 'nowhere'.*read.*declare it"):
        get(actor.read.options(concurrency_group="nowhere").remote())
    assert get(actor.read.remote())


def test_a_group_of_one_runs_in_the_order_of_submission():
    @ray.remote(concurrency_groups={"one": 1})
    class Ordered:
        def __init__(self):
            self.seen = []

        @ray.method(concurrency_group="one")
        def add(self, number):
            self.seen.append(number)
            return list(self.seen)

    actor = Ordered.remote()
    assert get([actor.add.remote(i) for i in range(100)])[-1] == list(range(100))


def test_groups_of_a_handle_elsewhere():
    @ray.remote
    def ask(actor):
        get(actor.open.remote("plain"))
        return get([actor.read.remote(), actor.plain.options(concurrency_group="io").remote()])

    actor = Threaded.remote()
    assert len(set(get(ask.remote(actor)) + [get(actor.plain.remote())])) >= 2


def test_a_restart_keeps_the_groups():
    actor = Threaded.options(max_restarts=1, max_task_retries=1).remote()
    before = get(actor.pid.remote())
    calls = [actor.io.remote(i) for i in range(4)]
    time.sleep(0.2)
    ray.kill(actor, no_restart=False)
    assert eventually(lambda: get(actor.pid.remote()) != before)
    get(actor.open.remote("io"))
    get(calls)
    assert get(actor.report.remote())[0]["io"] <= 2


def test_event_loops_of_groups():
    actor = Async.remote()
    assert len(set(get([actor.io.remote() for _ in range(8)]))) == 1
    assert get(actor.peak.remote()) == 2
    loops = {get(actor.plain.remote()), get(actor.io.remote()), get(actor.block.remote(0))}
    assert len(loops) == 3
    blocked = actor.block.remote(1.5)
    start = time.monotonic()
    get([actor.plain.remote(), actor.io.remote()])
    assert time.monotonic() - start < 1
    get(blocked)


def test_a_full_event_loop_group_goes_on_when_there_is_room():
    actor = Async.remote()
    get(actor.plain.remote())
    start = time.monotonic()
    get([actor.nap.remote(0.01) for _ in range(10)])  # one after the other
    assert 0.1 <= time.monotonic() - start < 3


def test_cancel_in_a_group():
    actor = Async.remote()
    nap = actor.nap.remote(60)
    time.sleep(0.3)
    ray.cancel(nap)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        get(nap)
    get(actor.nap.remote(0))


def test_a_group_that_is_not_declared():
    class Forgetful:
        @ray.method(concurrency_group="io")
        def read(self):
            return 1

    with pytest.raises(AssertionError):
        ray.remote(Forgetful).remote()
    with pytest.raises(ValueError, match="concurrency_groups"):
        Threaded.options(concurrency_groups={"io": 1})
