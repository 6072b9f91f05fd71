# SPDX-License-Identifier: Apache-2.0
"""A store full of what processes look at, of garbage, or of one object: what then goes on, and what is an error."""

import gc

import pytest
import ray
from support import UNDER_RAY, fresh_runtime, get

np = pytest.importorskip("numpy")

MIB = 1024 * 1024
STORE_BYTES = 80 * MIB


@pytest.fixture(scope="module", autouse=True)
def small_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spill")
    fresh_runtime(num_cpus=4, object_store_memory=STORE_BYTES, object_spilling_directory=str(folder))
    yield
    ray.shutdown()


def array(n, size=8 * MIB):
    return np.full(size, n % 256, dtype=np.uint8)


class Cycle:
    """Only the collector finds that nobody needs it any more."""

    def __init__(self, value):
        self.value = value
        self.itself = self


@ray.remote
class Hoarder:
    """A process without automatic collection that keeps arrays in cycles which it has dropped."""

    def __init__(self):
        gc.disable()

    def hoard(self, refs):
        for ref in refs:
            Cycle(ray.get(ref))


def test_garbage_of_who_creates_is_collected():
    gc.collect()
    gc.disable()
    try:
        for n in range(30):
            Cycle(get(ray.put(array(n))))
    finally:
        gc.enable()


def test_garbage_of_others_is_collected():
    gc.collect()
    hoarder = Hoarder.remote()
    for first in range(0, 24, 8):
        refs = [ray.put(array(first + n)) for n in range(8)]
        get(hoarder.hoard.remote(refs))
        del refs
    kept = [get(ray.put(array(n))) for n in range(6)]
    assert all(value[0] == n for n, value in enumerate(kept))


def test_tasks_that_hold_views_and_create_all_end():
    """Four of them look at 8 MiB each and make 4 MiB ten times: what they look at fits, so none waits for ever."""
    gc.collect()

    @ray.remote
    def make(view, n):
        made = [ray.put(array(n + i, 4 * MIB)) for i in range(10)]
        return bool((view == n).all()) and all((ray.get(ref) == n + i).all() for i, ref in enumerate(made))

    views = [ray.put(array(n)) for n in range(8)]
    assert all(get([make.remote(view, n) for n, view in enumerate(views)]))


@pytest.mark.ours_only("Ray gives them memory on the disk")
def test_tasks_that_hold_too_many_views_are_told_who_holds_what():
    """They meet with more than the store between them: some must fail, with names, and the rest ends well."""
    gc.collect()

    @ray.remote(max_retries=0)
    def look(refs):
        views = [ray.get(ref) for ref in refs]
        made = ray.put(array(1))
        return len(views) + int(ray.get(made)[0])

    refs = [ray.put(array(n)) for n in range(16)]
    results = [look.remote(refs[4 * n : 4 * n + 4]) for n in range(4)]
    failed = []
    for result in results:
        try:
            assert get(result) == 5
        except ray.exceptions.RayTaskError as error:
            assert isinstance(error, ray.exceptions.ObjectStoreFullError)
            failed.append(str(error))
    assert all("look pid" in text or "(look)" in text for text in failed)
    assert all((get(ref) == n).all() for n, ref in enumerate(refs))


@pytest.mark.parametrize("size", [0, 1, 100 * 1024 - 1, 100 * 1024, 100 * 1024 + 1, 17 * MIB, 60 * MIB])
def test_sizes(size):
    """Around the limit of what travels in messages, and beyond one extent."""
    gc.collect()

    @ray.remote
    def echo(value):
        return value

    for value in (b"x" * size, array(7, size)):
        assert bytes(get(ray.put(value))) == bytes(value)
        if size < 20 * MIB:
            assert bytes(get(echo.remote(value))) == bytes(value)


def test_an_object_larger_than_the_store_is_an_error_and_nothing_else():
    gc.collect()

    @ray.remote(max_retries=0)
    def make():
        return array(1, 2 * STORE_BYTES)

    with pytest.raises(ray.exceptions.ObjectStoreFullError) as error:
        ray.put(array(1, 2 * STORE_BYTES))
    assert UNDER_RAY or "larger than the object store" in str(error.value)
    with pytest.raises((ray.exceptions.ObjectStoreFullError, ray.exceptions.RayTaskError)):
        get(make.remote())
    assert get(ray.put(array(3)))[0] == 3


def test_many_small_ones_in_one_list():
    values = [ray.put(n) for n in range(100_000)]
    assert get(ray.put(values)) == values
    assert get(values) == list(range(100_000))


def test_one_object_of_many_refs():
    @ray.remote
    def total(refs):
        return sum(ray.get(refs))

    refs = [ray.put(n) for n in range(10_000)]
    assert get(total.remote(refs)) == sum(range(10_000))
    outer = ray.put(refs)
    del refs
    gc.collect()
    assert get(get(outer)) == list(range(10_000))
