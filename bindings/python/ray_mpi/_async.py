# SPDX-License-Identifier: Apache-2.0
"""await ref, ref.future(), ref.as_future(): attached to ObjectRef.

The extension tells which refs became ready through a queue with an eventfd (see completion.cc). Each event loop
reads one of its own (but for that of _lane_loop.py, which is rung); futures of other threads share one that a helper
thread reads. asyncio is imported by the
program that uses it, not by every program.
"""

import itertools
import os
import select
import threading
import weakref

from ray_mpi import _core, exceptions


class _Watcher:
    """A queue and the callbacks that wait for its tokens."""

    def __init__(self, rings=False):
        self.queue = _core.Completions(rings)
        self._callbacks = {}
        self._tokens = itertools.count(1)

    def watch(self, ref, callback):
        """callback(ref) in the thread that calls run(), once ref is ready."""
        token = next(self._tokens)
        self._callbacks[token] = (callback, ref)  # the ref is held: nobody else may
        self.queue.watch(ref, token)

    def watch_reader(self, call, callback):
        """callback(None) in the thread that calls run(), once the generator of that call may yield again."""
        token = next(self._tokens)
        self._callbacks[token] = (callback, None)
        self.queue.watch_reader(call, token)

    def run(self):
        for token in self.queue.drain():
            entry = self._callbacks.pop(token, None)
            if entry is not None:
                entry[0](entry[1])


_loops = weakref.WeakKeyDictionary()  # event loop -> its watcher


def _watcher_of(loop):
    watcher = _loops.get(loop)
    if watcher is None:
        rung = getattr(loop, "when_rung", None)  # an async actor's own loop needs no descriptor
        watcher = _loops[loop] = _Watcher(rings=rung is not None)
        if rung is not None:
            rung(watcher.run)
        else:
            loop.add_reader(watcher.queue.fileno(), watcher.run)
    return watcher


def _settle(future, ref):
    """Give a future (of either kind) the value of a ready ref."""
    if future.done():
        return
    try:
        value = _value(ref)
    except Exception as error:  # noqa: BLE001  (it is the task's)
        future.set_exception(_acceptable(error))
    else:
        future.set_result(value)


def _value(ref):
    """The value of a ref that is ready, or that never will be since the runtime is gone."""
    if not _core.connected():  # get() would start a new runtime
        raise exceptions.RaySystemError("ray.shutdown() was called before the object was ready.")
    return _core.get(ref)


def _acceptable(error):
    """asyncio refuses StopIteration, which is also a class that tasks can raise."""
    if isinstance(error, StopIteration):
        return RuntimeError(f"the task raised StopIteration: {error}")
    return error


def as_future(ref, _internal=False):
    """An asyncio.Future of the running loop for this object."""
    import asyncio

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    _watcher_of(loop).watch(ref, lambda ready: _settle(future, ready))
    return future


def when_ready(ref):
    """A future of the running loop that is done when the object is ready, whatever it is."""
    return _told_by(lambda watcher, callback: watcher.watch(ref, callback))


def when_reader_near(call):
    """The same for a generator that runs in this loop: when it may yield again."""
    return _told_by(lambda watcher, callback: watcher.watch_reader(call, callback))


def _told_by(watch):
    import asyncio

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    watch(_watcher_of(loop), lambda _: None if future.done() else future.set_result(None))
    return future


def _await(ref):
    return as_future(ref).__await__()


class _Helper:
    """The thread that settles concurrent futures; made when the first one is."""

    def __init__(self):
        self._watcher = _Watcher()
        self._poll = select.poll()
        self._poll.register(self._watcher.queue.fileno(), select.POLLIN)
        threading.Thread(target=self._run, name="ray-mpi-futures", daemon=True).start()

    def watch(self, ref, callback):
        self._watcher.watch(ref, callback)

    def _run(self):
        while True:
            self._poll.poll()
            self._watcher.run()


_helper = None
_helper_lock = threading.Lock()


def _get_helper():
    global _helper
    with _helper_lock:
        if _helper is None:
            _helper = _Helper()
        return _helper


def future(ref):
    """A concurrent.futures.Future for this object."""
    import concurrent.futures

    result = concurrent.futures.Future()
    _get_helper().watch(ref, lambda ready: _settle_running(result, ready))
    return result


def _settle_running(result, ref):
    if result.set_running_or_notify_cancel():
        _settle(result, ref)


def _on_completed(ref, callback):
    """Call callback(value or exception) once the object is ready, on the helper thread."""

    def run(ready):
        try:
            value = _value(ready)
        except Exception as error:  # noqa: BLE001
            value = error
        callback(value)

    _get_helper().watch(ref, run)


def _forget_after_fork():
    global _helper
    _helper = None
    _loops.clear()


def attach():
    """Give ObjectRef its asynchronous side."""
    cls = _core.ObjectRef
    cls.__await__ = _await
    cls.future = future
    cls.as_future = as_future
    cls._on_completed = _on_completed
    os.register_at_fork(after_in_child=_forget_after_fork)
