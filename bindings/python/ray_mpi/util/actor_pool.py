# SPDX-License-Identifier: Apache-2.0
"""Work spread over a fixed set of actors, one call at a time each."""

import collections

from ray_mpi import _core, _waiting, exceptions


class ActorPool:
    """Calls fn(actor, value) on whichever of `actors` is free; fn returns an ObjectRef.

    Results come in the order of submission (map, get_next) or of completion (map_unordered, get_next_unordered).
    The two orders must not be mixed while results are outstanding.
    """

    def __init__(self, actors):
        self._idle = list(actors)
        self._running = {}  # ref -> (number, actor)
        self._by_number = {}  # number -> ref, not yet handed out
        self._waiting = collections.deque()  # (fn, value)
        self._submitted = 0
        self._next = 0

    def submit(self, fn, value):
        """Run fn(actor, value) on a free actor, or as soon as one is."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        self._running[ref] = (self._submitted, actor)
        self._by_number[self._submitted] = ref
        self._submitted += 1

    def has_next(self):
        """Whether results are outstanding."""
        return bool(self._by_number)

    def get_next(self, timeout=None, ignore_if_timedout=False):
        """The next result in the order of submission. StopIteration: none is outstanding; TimeoutError."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next not in self._by_number:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        ref = self._by_number[self._next]
        if timeout is not None and not _waiting.wait([ref], timeout=timeout)[0]:
            if not ignore_if_timedout:
                raise TimeoutError("Timed out waiting for result")
        else:
            self._hand_out(ref)
            return _core.get(ref)
        self._hand_out(ref)
        return None

    def get_next_unordered(self, timeout=None, ignore_if_timedout=False):
        """Any result that is there, or the next to come. StopIteration: none is outstanding; TimeoutError."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        ready, _ = _waiting.wait(list(self._by_number.values()), num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                return None
            raise TimeoutError("Timed out waiting for result")
        self._hand_out(ready[0])
        return _core.get(ready[0])

    def _hand_out(self, ref):
        number, actor = self._running.pop(ref)
        del self._by_number[number]
        self._next = max(self._next, number + 1)
        self._return_actor(actor)

    def _return_actor(self, actor):
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def map(self, fn, values):
        """The results of fn(actor, value) for all values, in their order, as a generator."""
        self._drop_results()
        for value in values:
            self.submit(fn, value)

        def results():
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, fn, values):
        """The same in the order of completion."""
        self._drop_results()
        for value in values:
            self.submit(fn, value)

        def results():
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def _drop_results(self):
        while self.has_next():
            try:
                self.get_next_unordered(timeout=0)
            except TimeoutError:
                break
            except exceptions.RayError:
                continue

    def has_free(self):
        """Whether an actor is free and nothing waits."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self):
        """Take a free actor out of the pool; None: there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor):
        """Add an actor. ValueError: it is in the pool."""
        if actor in self._idle or any(actor == running for _, running in self._running.values()):
            raise ValueError("Actor already belongs to current ActorPool")
        self._return_actor(actor)
