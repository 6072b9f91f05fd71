# SPDX-License-Identifier: Apache-2.0
"""ray.put and values of all sizes: limits between small and large, read-only arrays without a copy, sharing."""

import gc
import os

import pytest
import ray
from support import get

np = pytest.importorskip("numpy")
pytestmark = pytest.mark.usefixtures("ray_2cpu")

# Results up to this size travel with the reply, larger ones through the object store.
SMALL_LIMIT = 100 * 1024


@ray.remote
def identity(value):
    return value


@ray.remote
def checksum(array):
    return int(array.sum()), array.flags.writeable, array.shape, str(array.dtype)


def test_put_and_get():
    assert get(ray.put(1)) == 1
    assert get([ray.put(i) for i in range(10)]) == list(range(10))


def test_put_takes_a_copy():
    data = [1, 2]
    ref = ray.put(data)
    data.append(3)
    assert get(ref) == [1, 2]


def test_a_ref_cannot_be_put():
    with pytest.raises(TypeError):
        ray.put(ray.put(1))


def test_a_list_of_refs_can_be_put():
    inner = [ray.put(i) for i in range(3)]
    refs = get(ray.put(inner))
    assert refs == inner
    assert get(refs) == [0, 1, 2]


def test_an_inner_object_lives_as_long_as_the_outer():
    outer = ray.put([ray.put("kept")])
    gc.collect()
    assert get(get(outer)[0]) == "kept"


def test_what_cannot_be_pickled_is_a_type_error():
    import threading

    with pytest.raises(TypeError):
        ray.put(threading.Lock())


@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("base", [SMALL_LIMIT, SMALL_LIMIT - 100, 1024, 64 * 1024], ids=lambda b: f"{b}B")
def test_sizes_around_limits(base, delta):
    value = os.urandom(base + delta)
    assert get(identity.remote(value)) == value
    assert get(ray.put(value)) == value
    assert get(identity.remote(ray.put(value))) == value


@pytest.mark.parametrize("size", [0, 1, 7, 4095, 4096, 4097, 2**20, 10 * 2**20 + 3])
def test_bytes_of_all_sizes(size):
    value = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert get(ray.put(value)) == value
    assert get(identity.remote(value)) == value


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0),
        np.array(5),
        np.arange(10, dtype=np.int8),
        np.arange(100),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(100)[::3],
        np.arange(100)[::-1],
        np.array([True, False]),
        np.array(["a", "bc"]),
        np.array([b"a", b"bc"]),
        np.array([1 + 2j]),
        np.array([{"an": "object"}, None], dtype=object),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2024-02-29"], dtype="datetime64[D]"),
        np.arange(5, dtype=">i4"),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_arrays_survive(array):
    for result in (get(ray.put(array)), get(identity.remote(array))):
        assert result.dtype == array.dtype and result.shape == array.shape
        assert np.array_equal(result, array)


def test_numpy_scalars_keep_their_type():
    for value in (np.int32(5), np.float64(0.5), np.bool_(True), np.str_("x")):
        result = get(identity.remote(value))
        assert result == value and type(result) is type(value)


def test_a_large_array_is_read_only_and_shared():
    array = np.arange(1_000_000)
    ref = ray.put(array)
    first, second = get(ref), get(ref)
    assert not first.flags.writeable
    with pytest.raises(ValueError):
        first[0] = 1
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0], "one copy, mapped twice"
    assert first.__array_interface__["data"][0] % 64 == 0
    copy = first.copy()
    copy[0] = 7
    assert first[0] == 0


def test_a_large_argument_is_read_only_in_the_task():
    array = np.ones((500, 500))
    assert get(checksum.remote(ray.put(array))) == (250_000, False, (500, 500), "float64")
    assert get(checksum.remote(array)) == (250_000, False, (500, 500), "float64")


def test_a_large_result_is_read_only():
    @ray.remote
    def make():
        return np.full(200_000, 3.0)

    result = get(make.remote())
    assert result.sum() == 600_000 and not result.flags.writeable


def test_many_arrays_in_one_object():
    value = {"images": [np.full(50_000, i) for i in range(5)], "labels": np.arange(5), "name": "set"}
    result = get(ray.put(value))
    assert [int(image[0]) for image in result["images"]] == [0, 1, 2, 3, 4]
    assert result["labels"].tolist() == [0, 1, 2, 3, 4] and result["name"] == "set"
    assert not result["images"][3].flags.writeable


def test_an_array_outlives_its_ref():
    ref = ray.put(np.arange(500_000))
    array = get(ref)
    del ref
    gc.collect()
    refs = [ray.put(np.full(500_000, i)) for i in range(10)]
    assert array[123] == 123 and int(array.sum()) == 500_000 * 499_999 // 2
    del refs


def test_a_hundred_tasks_share_one_put():
    ref = ray.put(np.ones(1_000_000))
    assert get([checksum.remote(ref) for _ in range(100)]) == [(1_000_000, False, (1_000_000,), "float64")] * 100


def test_a_chain_of_large_results():
    @ray.remote
    def add(array, n):
        return array + n

    ref = ray.put(np.zeros(100_000))
    for _ in range(20):
        ref = add.remote(ref, 1)
    assert get(ref)[0] == 20


def test_large_results_of_a_task_with_several_returns():
    @ray.remote(num_returns=3)
    def several():
        return np.zeros(50_000), b"small", np.ones(50_000)

    zeros, small, ones = get(several.remote())
    assert zeros.sum() == 0 and small == b"small" and ones.sum() == 50_000


def test_an_array_of_a_hundred_megabytes():
    array = np.arange(12_500_000, dtype=np.int64)
    result = get(ray.put(array))
    assert result[-1] == 12_499_999 and result.nbytes == 100_000_000


def test_a_put_inside_a_task_is_readable_outside():
    @ray.remote
    def make():
        return [ray.put(np.full(100_000, 9)), ray.put("small")]

    large, small = get(make.remote())
    assert get(large)[5] == 9 and get(small) == "small"


def test_ten_thousand_refs():
    refs = [ray.put(i) for i in range(10_000)]
    assert get(refs) == list(range(10_000))
    assert len(get(ray.put(refs))) == 10_000


def test_ten_thousand_arguments_of_one_task():
    @ray.remote
    def total(*numbers):
        return sum(numbers)

    assert get(total.remote(*[ray.put(1) for _ in range(10_000)])) == 10_000


def test_out_of_band_buffers_of_other_types():
    import array
    import pickle

    data = array.array("d", range(1000))
    assert get(identity.remote(data)) == data
    buffer = pickle.PickleBuffer(bytearray(b"xyz"))
    assert bytes(get(ray.put(buffer))) == b"xyz"


def test_memory_order_is_kept():
    fortran = np.asfortranarray(np.arange(200_000.0).reshape(400, 500))
    assert get(ray.put(fortran)).flags.f_contiguous
