# SPDX-License-Identifier: Apache-2.0
"""What remote generators return: the refs of their items, as the items come."""

import collections

from ray_mpi import _core

_READY, _FAILED = 1, 3  # of _core._stream_state


class ObjectRefGenerator:
    """The refs of what a generator yields in a task: `for ref in generator: ray.get(ref)`.

    An exception in the task is the last ref. The object belongs to the process that called; when it is deleted, what was
    not taken is freed, and the task runs on to its end. Not thread-safe.
    """

    __slots__ = ("_generator_ref", "_generator_task_raised", "__weakref__")

    def __init__(self, generator_ref):
        self._generator_ref = generator_ref
        self._generator_task_raised = False

    def __iter__(self):
        return self

    def __next__(self):
        ref = _core._stream_next(self._generator_ref, None)
        return ref if ref is not None else self._last(StopIteration)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self._next_async()

    def completed(self):
        """A ref that is ready when the task has ended: None, or the error of a task that failed as a whole."""
        return self._generator_ref

    def next_ready(self):
        """Whether next() returns a ref at once; False at the end, too."""
        state = _core._stream_state(self._generator_ref)
        return state == _READY or (state == _FAILED and not self._generator_task_raised)

    def is_finished(self):
        """Whether all was taken: next() raises StopIteration."""
        state = _core._stream_state(self._generator_ref)
        return state > _READY and (state != _FAILED or self._generator_task_raised)

    def _last(self, end):
        """What comes behind the last item: the task's own error, once."""
        if _core._stream_state(self._generator_ref) != _FAILED or self._generator_task_raised:
            raise end
        self._generator_task_raised = True
        return self._generator_ref

    def _next_sync(self, timeout_s=None):
        """As next(); a nil ref if nothing has come after timeout_s (None, -1: no limit)."""
        ref = _core._stream_next(self._generator_ref, timeout_s)
        if ref is None:
            return self._last(StopIteration)
        return ref if ref is not False else _core.ObjectRef.nil()

    async def _next_async(self, timeout_s=None):
        import asyncio

        from ray_mpi._async import when_ready

        ref = _core._stream_next(self._generator_ref, 0)
        if ref is False:
            waiting = when_ready(_core._stream_peek(self._generator_ref, 0))
            try:
                await asyncio.wait_for(waiting, timeout_s)
            except asyncio.TimeoutError:
                return _core.ObjectRef.nil()
            ref = _core._stream_next(self._generator_ref, 0)
        return ref if ref is not None else self._last(StopAsyncIteration)

    def send(self, value):
        raise NotImplementedError("`gen.send` is not supported.")

    def throw(self, value):
        raise NotImplementedError("`gen.throw` is not supported.")

    def close(self):
        raise NotImplementedError("`gen.close` is not supported.")

    async def asend(self, value):
        raise NotImplementedError("`gen.asend` is not supported.")

    async def athrow(self, value):
        raise NotImplementedError("`gen.athrow` is not supported.")

    async def aclose(self):
        raise NotImplementedError("`gen.aclose` is not supported.")

    def __del__(self, _close=_core._stream_close):
        _close(getattr(self, "_generator_ref", None))

    def __reduce__(self):
        raise TypeError(
            "You cannot return or pass a generator to other task. Serializing a ObjectRefGenerator is not allowed."
        )


class DynamicObjectRefGenerator:
    """What ray.get gives for a task with num_returns="dynamic": the refs of all that it yielded, each once."""

    def __init__(self, refs):
        self._refs = collections.deque(refs)

    def __iter__(self):
        while self._refs:
            yield self._refs.popleft()

    def __len__(self):
        return len(self._refs)
