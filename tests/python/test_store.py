# SPDX-License-Identifier: Apache-2.0
"""The object store of a run: memory comes back when the last ref goes, and what is too large says so."""

import gc
import time

import pytest
import ray
from support import eventually, get

np = pytest.importorskip("numpy")

STORE_BYTES = 80 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def small_store():
    ray.shutdown()
    ray.init(num_cpus=1, object_store_memory=STORE_BYTES, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@ray.remote
def size(array):
    return array.nbytes


def megabytes(n, value=1):
    return np.full(n * 1024 * 1024, value, dtype=np.uint8)


def test_far_more_than_the_store_in_turn():
    """30 objects of 10 MB in a store of 80 MB, each let go before the next."""
    for i in range(30):
        ref = ray.put(megabytes(10, i))
        assert get(ref)[-1] == i
        del ref


def test_results_are_freed_too():
    @ray.remote
    def make(i):
        return megabytes(10, i)

    for i in range(20):
        assert get(make.remote(i))[0] == i


def test_large_arguments_are_freed():
    for _ in range(20):
        assert get(size.remote(megabytes(10))) == 10 * 1024 * 1024


def test_a_held_array_is_not_overwritten():
    ref = ray.put(megabytes(10, 77))
    held = get(ref)
    del ref
    gc.collect()
    for i in range(15):
        ray.put(megabytes(10, i))
    assert int(held.min()) == int(held.max()) == 77


def test_a_ref_in_a_task_argument_keeps_its_object():
    @ray.remote
    def slow_sum(box):
        time.sleep(0.5)
        return int(ray.get(box[0])[:10].sum())

    ref = slow_sum.remote([ray.put(megabytes(5, 3))])
    gc.collect()
    for i in range(10):
        ray.put(megabytes(10, i))
    assert get(ref) == 30


def test_the_store_has_a_size():
    assert ray.cluster_resources()["object_store_memory"] == STORE_BYTES


@pytest.mark.ours_only("Ray writes it to disk")
def test_an_object_larger_than_the_store():
    with pytest.raises(ray.exceptions.ObjectStoreFullError):
        ray.put(megabytes(200))


@pytest.mark.ours_only("asks our own counters")
def test_room_that_others_have_leased_and_do_not_use_comes_back():
    """A process makes its small objects in ranges of its own; one that needs nearly all of the store gets them."""
    import ray_mpi

    kept = [ray.put(megabytes(1)[:200_000]), get_later.remote(), get_later.remote()]
    get(kept)
    used = lambda: ray_mpi._private_stats()["object_store_used_bytes"]  # noqa: E731
    assert eventually(lambda: used() >= 3 * 200_000)  # a result can be here before its raylet has heard of it
    array = np.zeros(STORE_BYTES - used() - 64 * 1024, dtype=np.uint8)
    assert get(ray.put(array)).nbytes == array.nbytes


@ray.remote
def get_later():
    return bytes(200_000)


@pytest.mark.ours_only("asks our own counters")
def test_everything_is_freed_in_the_end():
    import ray_mpi

    refs = [ray.put(megabytes(5)) for _ in range(5)] + [size.remote(megabytes(2)) for _ in range(5)]
    refs += [ray.put([ray.put(1), ray.put(megabytes(1))])]
    get(refs[:-1])
    del refs
    gc.collect()
    assert eventually(lambda: ray_mpi._private_stats()["object_store_used_bytes"] == 0, timeout=10)
    assert eventually(lambda: ray_mpi._private_stats()["owned_objects"] == 0, timeout=10)
