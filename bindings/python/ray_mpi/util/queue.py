# SPDX-License-Identifier: Apache-2.0
"""A first-in, first-out queue that several tasks and actors share: an async actor that keeps the items.

A Queue holds a handle on that actor, so it can be passed like one; the actor ends with the last Queue, or by
shutdown(). Those who wait are served in the order in which they came.
"""

import asyncio
import collections.abc
import queue

import ray_mpi


class Empty(queue.Empty):
    """Nothing was there, or not enough, or not in time."""


class Full(queue.Full):
    """There was no room, or not in time."""


class _Items:
    """What the actor is: all methods run in one event loop."""

    def __init__(self, maxsize):
        self._queue = asyncio.Queue(maxsize)

    async def qsize(self):
        return self._queue.qsize()

    async def put(self, item, timeout=None):
        try:
            await asyncio.wait_for(self._queue.put(item), timeout)
        except asyncio.TimeoutError:
            raise Full(f"no room in the queue within {timeout} s") from None

    async def get(self, timeout=None):
        try:
            return await asyncio.wait_for(self._queue.get(), timeout)
        except asyncio.TimeoutError:
            raise Empty(f"nothing in the queue within {timeout} s") from None

    async def put_all(self, items):
        """All of them or none."""
        room = self._queue.maxsize - self._queue.qsize()
        if 0 < self._queue.maxsize and room < len(items):
            raise Full(f"no room for {len(items)} items: {max(0, room)} fit (maxsize={self._queue.maxsize})")
        for item in items:
            self._queue.put_nowait(item)

    async def get_all(self, count):
        """So many or none."""
        if self._queue.qsize() < count:
            raise Empty(f"{count} items were asked for, {self._queue.qsize()} are there")
        return [self._queue.get_nowait() for _ in range(count)]


def _check(timeout):
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


class Queue:
    """put, get and their kin for use from anywhere; maxsize=0: no limit. `actor_options` are those of its actor."""

    def __init__(self, maxsize=0, actor_options=None):
        self.maxsize = maxsize
        self.actor = ray_mpi.remote(_Items).options(**(actor_options or {})).remote(maxsize)

    def __len__(self):
        return self.size()

    def size(self):
        """How many items are there now."""
        return ray_mpi.get(self.actor.qsize.remote())

    def qsize(self):
        return self.size()

    def empty(self):
        return self.size() == 0

    def full(self):
        return 0 < self.maxsize <= self.size()

    def put(self, item, block=True, timeout=None):
        """Add an item, waiting for room if `block`, for `timeout` seconds at most (None: without end). Else Full."""
        if not block:
            return self.put_nowait(item)
        _check(timeout)
        ray_mpi.get(self.actor.put.remote(item, timeout))

    async def put_async(self, item, block=True, timeout=None):
        if not block:
            await self.actor.put_all.remote([item])
            return
        _check(timeout)
        await self.actor.put.remote(item, timeout)

    def get(self, block=True, timeout=None):
        """Take the oldest item, waiting for one if `block`, for `timeout` seconds at most (None: without end). Else
        Empty."""
        if not block:
            return self.get_nowait()
        _check(timeout)
        return ray_mpi.get(self.actor.get.remote(timeout))

    async def get_async(self, block=True, timeout=None):
        if not block:
            return (await self.actor.get_all.remote(1))[0]
        _check(timeout)
        return await self.actor.get.remote(timeout)

    def put_nowait(self, item):
        self.put_nowait_batch([item])

    def put_nowait_batch(self, items):
        """Add all items in their order, or none of them: then Full."""
        if not isinstance(items, collections.abc.Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        ray_mpi.get(self.actor.put_all.remote(list(items)))

    def get_nowait(self):
        return self.get_nowait_batch(1)[0]

    def get_nowait_batch(self, num_items):
        """Take that many items, or none of them: then Empty."""
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        return ray_mpi.get(self.actor.get_all.remote(num_items))

    def shutdown(self, force=False, grace_period_s=5):
        """End the actor: when what was asked of it is done, but in `grace_period_s` at most; with `force` at once."""
        if self.actor is None:
            return
        if not force:
            _, waiting = ray_mpi.wait([self.actor.__ray_terminate__.remote()], timeout=grace_period_s)
            force = bool(waiting)
        if force:
            ray_mpi.kill(self.actor, no_restart=True)
        self.actor = None
