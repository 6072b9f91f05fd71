# SPDX-License-Identifier: Apache-2.0
"""An event loop of asyncio that waits for this worker's calls instead of in epoll.

Its selector waits in the extension, on the worker's lane: a call begins, and its result goes, without a change of
threads. Other threads wake it with _core.ring(). Descriptors that user code has the loop watch are watched by a thread
that rings; it is made with the first of them.
"""

import asyncio
import selectors
import threading

from ray_mpi import _core

_OVER, _INTERRUPTED = 0, 2  # what serve() returns; 1: neither
_LOOK_S = 0.01  # after the last call, at refs that became ready
_TURNS = 8  # of a loop that has something to do, between two looks at the lane: calls begin in batches


class LaneLoop(asyncio.SelectorEventLoop):
    """The loop of a worker's main thread."""

    def __init__(self):
        super().__init__(_LaneSelector())

    def run(self, serve):
        """Run until the worker is to end. serve(timeout in s, or -1) begins the calls that have come, or waits for one:
        WorkerLoop::Serve."""
        self._selector.serve = serve
        while not self._selector.over:
            self.run_forever()

    def add_signal_handler(self, sig, callback, *args):
        """As any loop's."""
        super().add_signal_handler(sig, callback, *args)
        self._selector.signals = True

    def when_rung(self, callback):
        """callback() each time that the loop has waited: it looks whether it was rung for."""
        self._selector.callbacks.append(callback)

    def _write_to_self(self):  # how asyncio wakes a loop from another thread
        if self._selector.over:
            super()._write_to_self()
        else:
            _core.ring()


class _LaneSelector(selectors.DefaultSelector):
    def __init__(self):
        super().__init__()
        self.serve = None
        self.callbacks = []
        self.over = False  # the worker takes no more calls; what still runs here waits as in any loop
        self.signals = False  # a handler was set: a signal writes to the loop's own descriptor
        self._bell = None
        self._turns = 0

    def select(self, timeout=None):
        if self.over:
            return self._select_after_all(timeout)
        if timeout == 0 and self._turns < _TURNS:
            self._turns += 1
            return ()
        self._turns = 0
        watched = self.signals or len(self.get_map()) > 1  # the first is the loop's own, for signals
        if watched:
            if self._bell is None:
                self._bell = _Bell(self.fileno())
            self._bell.arm()
        served = self.serve(-1.0 if timeout is None else timeout)
        for callback in self.callbacks:
            callback()
        if served == _OVER:
            self.over = True
            asyncio.get_running_loop().stop()
        return super().select(0) if watched or served == _INTERRUPTED else ()

    def _select_after_all(self, timeout):
        for callback in self.callbacks:
            callback()
        return super().select(_LOOK_S if timeout is None else min(timeout, _LOOK_S))


class _Bell:
    """Rings once, each time that it is armed, when one of the descriptors in an epoll is ready."""

    def __init__(self, epoll):
        self._armed = threading.Event()
        self._poll = selectors.PollSelector()
        self._poll.register(epoll, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="ray-mpi-descriptors", daemon=True).start()

    def arm(self):
        self._armed.set()

    def _run(self):
        while True:
            self._armed.wait()
            self._poll.select()
            self._armed.clear()
            _core.ring()
