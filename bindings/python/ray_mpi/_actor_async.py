# SPDX-License-Identifier: Apache-2.0
"""The event loops of an actor with async methods: one for each concurrency group, in which the methods of that group
run, sync ones too."""

import asyncio
import collections
import contextvars
import functools
import inspect
import os
import sys
import threading

from ray_mpi import _core
from ray_mpi._async import when_reader_near
from ray_mpi._lane_loop import LaneLoop
from ray_mpi._worker import current_call

_NAP_S = 0.001


def _patience_s():
    """How long the calls that run when the actor ends itself may go on. (Ray's name for it.)"""
    return int(os.environ.get("RAY_actor_graceful_shutdown_timeout_ms", 30_000)) / 1000


class CallLoops:
    """The loops of all groups, by their numbers: 0 has no name. A single one is the main thread's, which takes the calls
    from the lane and begins them without a change of threads; among several none may hold up the others' calls."""

    def __init__(self, count):
        self._loops = [_MainLoop(self)] if count == 1 else [_ThreadLoop(self) for _ in range(count)]

    def run(self, serve):
        """Main thread, a single loop: until the actor's end."""
        self._loops[0].run(serve)

    def say_goodbye(self, goodbye):
        """Main thread, after the last call: goodbye(), with the loops running, since it may wait for them."""
        self._loops[0].say_goodbye(goodbye)

    def start(self, group, function, args, kwargs, call, task_id, streams):
        """Begin function(*args, **kwargs); `call` is what _core.finish_call wants. `streams`: it gives a generator,
        whose items are sent one by one. The main thread."""
        self._loops[group].start(function, args, kwargs, call, task_id, streams)

    def cancel(self, task_id):
        """Raise CancelledError in that call, if it still runs. Any thread."""
        for loop in self._loops:
            loop.cancel(task_id)

    def cancel_all_later(self):
        """Raise it in those that still run some time from now: the actor has ended itself."""
        for loop in self._loops:
            loop.cancel_all_later(_patience_s())


class _CallLoop:
    """Runs calls in one event loop. Touched by the loop's thread, but for start() and the cancels."""

    def __init__(self, loops, loop):
        self._loops = loops
        self._loop = loop
        self._running = {}  # task id -> asyncio.Task

    def cancel(self, task_id):
        self._loop.call_soon_threadsafe(self._cancel, task_id)

    def cancel_all_later(self, after_s):
        self._loop.call_soon_threadsafe(self._loop.call_later, after_s, self._cancel_all)

    def _cancel(self, task_id):
        if task_id in self._running:
            self._running[task_id].cancel()

    def _cancel_all(self):
        for task in self._running.values():
            task.cancel()

    def _begin(self, function, args, kwargs, call, task_id, streams):
        context = contextvars.copy_context()
        context.run(current_call.set, task_id)
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001  (a call's error is its result)
            self._end(call, None, error)
            return
        if streams:
            result = _send_items(result, call)
        elif not asyncio.iscoroutine(result):
            if not inspect.isawaitable(result):
                self._end(call, result, None)
                return
            result = _wait_for(result)
        try:
            task = _start(self._loop, context, result)
        except (SystemExit, KeyboardInterrupt) as error:  # of a first step that is done at once
            self._end(call, None, error)
            return
        self._running[task_id] = task
        if task.done():
            self._done(call, task_id, task)
        else:
            task.add_done_callback(functools.partial(self._done, call, task_id))

    def _done(self, call, task_id, task):
        del self._running[task_id]
        if task.cancelled():
            self._end(call, None, asyncio.CancelledError())
        elif error := task.exception():
            self._end(call, None, error)
        else:
            self._end(call, task.result(), None)

    def _end(self, call, result, error):
        if _core.finish_call(call, result, error):  # the actor ends itself
            self._loops.cancel_all_later()


class _MainLoop(_CallLoop):
    def __init__(self, loops):
        super().__init__(loops, LaneLoop())
        asyncio.set_event_loop(self._loop)

    def run(self, serve):
        _run(lambda: self._loop.run(serve))

    def say_goodbye(self, goodbye):
        self._loop.run_until_complete(self._loop.run_in_executor(None, goodbye))

    def start(self, *call):
        if self._loop.is_running():  # and waits in its selector, which calls us
            self._begin(*call)
        else:  # the constructor
            self._loop.call_soon(self._begin, *call)


class _ThreadLoop(_CallLoop):
    def __init__(self, loops):
        super().__init__(loops, asyncio.new_event_loop())
        self._arrived = collections.deque()  # arguments of _begin
        self._rung = False  # _take_all() is on its way
        threading.Thread(target=self._run, name="ray-mpi-asyncio", daemon=True).start()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        _run(self._loop.run_forever)

    def say_goodbye(self, goodbye):
        goodbye()

    def start(self, *call):
        self._arrived.append(call)
        if not self._rung:  # one wake-up for all that comes before it is served
            self._rung = True
            self._loop.call_soon_threadsafe(self._take_all)

    def _take_all(self):
        self._rung = False  # first: what arrives from now on rings again
        for _ in range(len(self._arrived)):
            self._begin(*self._arrived.popleft())


def _run(loop):
    while True:
        try:
            return loop()
        except (SystemExit, KeyboardInterrupt):
            pass  # a call's, and its result by now; asyncio lets these two through to here


if sys.version_info >= (3, 12):

    def _start(loop, context, coroutine):
        """A task whose first step is done: many calls have no other."""
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)

else:

    def _start(loop, context, coroutine):
        return context.run(loop.create_task, coroutine)


async def _wait_for(awaitable):
    return await awaitable


async def _send_items(generator, call):
    """Sends what an async generator, or one of a sync method, yields."""
    if not inspect.isasyncgen(generator):
        generator = _in_turn(generator)
    try:
        send, wait, stop = _core._plan_item(call)
        while True:
            while wait and not stop:
                await when_reader_near(call)
                send, wait, stop = _core._plan_item(call)
                if wait:  # for room in what this process sends: nobody tells of that
                    await asyncio.sleep(_NAP_S)
            if stop:
                return
            try:
                value = await generator.__anext__()
            except StopAsyncIteration:
                return
            send, wait, stop = _core._yield_item(call, value, send)
    finally:
        await generator.aclose()


async def _in_turn(generator):
    for value in generator:
        yield value
        await asyncio.sleep(0)  # others have their turn
