# SPDX-License-Identifier: Apache-2.0
"""Finds out which part of a value does not pickle."""

import inspect
import sys

import cloudpickle


class FailTuple:
    """One part that does not pickle: its name, itself, and what holds it."""

    def __init__(self, name, obj, parent):
        self.name = name
        self.obj = obj
        self.parent = parent

    def __repr__(self):
        return f"FailTuple({self.name} [obj={self.obj}, parent={self.parent}])"


def _error_of(value):
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001  (user code)
        return error
    return None


def _parts(value):
    """(name, part) that the pickle of a value would contain."""
    if inspect.isfunction(value):
        closure = inspect.getclosurevars(value)
        yield from closure.nonlocals.items()
        yield from closure.globals.items()
    elif isinstance(value, dict):
        yield from ((repr(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{i}]", item) for i, item in enumerate(value))
    elif inspect.isclass(value):
        yield from vars(value).items()
    else:
        yield from getattr(value, "__dict__", {}).items()


def _search(value, name, parent, depth, failures, seen):
    if id(value) in seen or _error_of(value) is None:
        return
    seen.add(id(value))
    before = len(failures)
    if depth > 0:
        for part_name, part in _parts(value):
            _search(part, part_name, value, depth - 1, failures, seen)
    if len(failures) == before:
        failures.append(FailTuple(name, value, parent))


def find_failures(value, depth=3, name=None):
    failures = []
    _search(value, name or "value", None, depth, failures, set())
    return failures


def describe(value, depth=3):
    """One paragraph on what does not pickle, for the message of an error."""
    lines = [f"  {failure.name}: {_error_of(failure.obj)}" for failure in find_failures(value, depth)]
    if not lines:
        lines = ["  nothing by itself: only the whole does not"]
    return "\n".join(
        [
            "These parts cannot be pickled:",
            *lines,
            "Make them inside of the function, or keep them out of what it refers to.",
        ]
    )


def inspect_serializability(base_obj, name=None, depth=3, print_file=None, **_):
    """(whether a value pickles, the set of parts that do not); prints what it finds."""
    out = print_file or sys.stdout
    print(f"Checking Serializability of {base_obj}", file=out)
    failures = find_failures(base_obj, depth, name)
    for failure in failures:
        print(f"!!! FAIL serialization: {failure.name}: {_error_of(failure.obj)}", file=out)
    return not failures, set(failures)
