# SPDX-License-Identifier: Apache-2.0
"""log_once and its switches."""

import threading
import time

_lock = threading.Lock()
_seen = {}
_disabled = False
_period_s = None


def log_once(key):
    """True the first time a key is seen (again after a while with periodic logging)."""
    if _disabled:
        return False
    now = time.monotonic()
    with _lock:
        last = _seen.get(key)
        if last is not None and (_period_s is None or now - last < _period_s):
            return False
        _seen[key] = now
        return True


def disable_log_once_globally():
    """log_once() is False from now on."""
    global _disabled
    _disabled = True


def enable_periodic_logging(period_s=60.0):
    """log_once() is True again after period_s."""
    global _period_s
    _period_s = period_s
