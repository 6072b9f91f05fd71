# SPDX-License-Identifier: Apache-2.0
"""The run's key/value store at the head."""

from ray_mpi import _core


def _text(value):
    return value.decode() if isinstance(value, bytes) else (value or "")


def _bytes(value):
    return value.encode() if isinstance(value, str) else value


def _internal_kv_initialized():
    return _core.connected()


def _internal_kv_get(key, *, namespace=None):
    """The value as bytes, or None."""
    return _core.kv_get(_text(namespace), _text(key))


def _internal_kv_exists(key, *, namespace=None):
    return _internal_kv_get(key, namespace=namespace) is not None


def _internal_kv_put(key, value, overwrite=True, *, namespace=None):
    """Returns whether the key was there already."""
    return not _core.kv_put(_text(namespace), _text(key), _bytes(value), overwrite)


def _internal_kv_del(key, *, del_by_prefix=False, namespace=None):
    """Returns how many keys went."""
    keys = _core.kv_keys(_text(namespace), _text(key)) if del_by_prefix else [_text(key)]
    return sum(_core.kv_del(_text(namespace), each) for each in keys)


def _internal_kv_list(prefix, *, namespace=None):
    """The keys with a prefix, as bytes."""
    return [key.encode() for key in _core.kv_keys(_text(namespace), _text(prefix))]
