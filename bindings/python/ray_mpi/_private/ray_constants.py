# SPDX-License-Identifier: Apache-2.0
"""ray._private.ray_constants: helpers for settings in the environment."""

import os


def env_integer(key, default):
    """An integer from the environment."""
    return int(os.environ.get(key, default))


def env_float(key, default):
    """A float from the environment."""
    return float(os.environ.get(key, default))


def env_bool(key, default):
    """A switch from the environment: 1 or true."""
    if key in os.environ:
        return os.environ[key].lower() in ("1", "true")
    return default


DEFAULT_MAX_DIRECT_CALL_OBJECT_SIZE = 100 * 1024
