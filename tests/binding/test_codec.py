# SPDX-License-Identifier: Apache-2.0
"""The stored form of values: every tag, nesting, alignment, read-only views, who keeps the bytes alive."""

import collections
import decimal
import gc
import weakref

import cloudpickle
import pytest
from ray_mpi import _core, exceptions
from ray_mpi.util import deregister_serializer, register_serializer

np = pytest.importorskip("numpy")

# Tags of bindings/python/src/codec.h; they are a file format: a change of one breaks what was stored.
NONE, TRUE, FALSE, INT8, INT64, FLOAT, STR, BYTES, TUPLE, LIST, DICT, REF, ARRAY, PICKLE = range(14)


def round_trip(value):
    return _core.decode(_core.encode(value))


def tag(value):
    return _core.encode(value)[0]


FAST = [
    (None, NONE, 1),
    (True, TRUE, 1),
    (False, FALSE, 1),
    (0, INT8, 2),
    (-128, INT8, 2),
    (127, INT8, 2),
    (128, INT64, 9),
    (-129, INT64, 9),
    (2**63 - 1, INT64, 9),
    (-(2**63), INT64, 9),
    (0.0, FLOAT, 9),
    (float("inf"), FLOAT, 9),
    ("", STR, 5),
    ("ascii", STR, 10),
    ("Übung \U0001f680", STR, 5 + len("Übung \U0001f680".encode())),
    (b"", BYTES, 9),
    (b"\x00\xff", BYTES, 11),
    ((), TUPLE, 5),
    ((1, (2, "x")), TUPLE, None),
    ([], LIST, 5),
    ([1, [2.5, {"k": None}]], LIST, None),
    ({}, DICT, 5),
    ({"a": [1], (1, 2): {}}, DICT, None),
]


@pytest.mark.parametrize("value, expected, size", FAST, ids=repr)
def test_fast_forms(value, expected, size):
    data = _core.encode(value)
    assert data[0] == expected
    assert size is None or len(data) == size
    result = _core.decode(data)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 2047, 2048, 2049, 32 * 1024, 1 << 20, (1 << 20) + 1])
def test_bytes_and_text_of_all_sizes(size):
    """Around the limits where data is no longer copied into the head."""
    data = bytes(i % 251 for i in range(size))
    assert round_trip(data) == data
    assert round_trip([data, "x" * size, data]) == [data, "x" * size, data]


SLOW = [
    2**63,
    -(2**63) - 1,
    1 + 2j,
    {1, 2},
    frozenset("ab"),
    bytearray(b"abc"),
    range(3),
    "\ud800",
    decimal.Decimal("1.5"),
    collections.OrderedDict(a=1),
    ([],),
    ({},),
    [set()],
    Ellipsis,
    int,
    len,
]


@pytest.mark.parametrize("value", SLOW, ids=repr)
def test_everything_else_is_pickled(value):
    assert tag(value) == PICKLE
    result = round_trip(value)
    assert result == value and type(result) is type(value)


def test_subclasses_are_not_flattened():
    class Number(int):
        pass

    class Items(list):
        pass

    assert type(round_trip(Number(5))).__name__ == "Number"
    assert type(round_trip(Items([1]))).__name__ == "Items"
    point = collections.namedtuple("point", "x y")
    assert round_trip(point(1, 2)).y == 2


def test_minus_zero_and_nan():
    assert str(round_trip(-0.0)) == "-0.0"
    assert round_trip(float("nan")) != round_trip(float("nan"))


def test_instances_keep_shared_identity():
    class Node:
        pass

    shared = Node()
    first, second = round_trip((shared, shared))
    assert first is second


def test_a_list_in_a_tuple_keeps_its_identity():
    shared = []
    first, second = round_trip((shared, shared))
    assert first is second


def test_a_list_that_holds_itself():
    loop = [1]
    loop.append(loop)
    result = round_trip(loop)
    assert result[1] is result and result[0] == 1


def test_deep_nesting():
    value = "bottom"
    for _ in range(100):
        value = [value]
    result = round_trip(value)
    for _ in range(100):
        (result,) = result
    assert result == "bottom"


DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", "F", "D", "G"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_plain_type(dtype):
    array = np.arange(6).astype(dtype).reshape(2, 3)
    assert tag(array) == ARRAY
    result = round_trip(array)
    assert result.dtype == array.dtype and result.shape == array.shape
    assert (result == array).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4), (1,) * 20], ids=repr)
def test_arrays_of_every_shape(shape):
    array = np.ones(shape)
    result = round_trip(array)
    assert result.shape == shape and (result == array).all()


def test_order_is_kept():
    array = np.arange(12.0).reshape(3, 4)
    assert round_trip(array).flags.c_contiguous
    turned = round_trip(array.T)
    assert turned.flags.f_contiguous and not turned.flags.c_contiguous
    assert (turned == array.T).all()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10)[::2],
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.array([1, "x", None], dtype=object),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.arange(3).astype(">i4"),
        np.matrix([[1, 2]]),
        np.ma.masked_array([1, 2], [0, 1]),
    ],
    ids=lambda a: f"{type(a).__name__}-{a.dtype}",
)
def test_other_arrays_are_pickled(array):
    assert tag(array) == PICKLE
    result = round_trip(array)
    assert type(result) is type(array) and result.dtype == array.dtype
    assert (np.asarray(result) == np.asarray(array)).all()


@pytest.mark.parametrize("count", [1, 10, 1000, 100_000])
def test_arrays_are_read_only_and_aligned(count):
    for value in (np.arange(count), {"in": [np.arange(count), np.arange(count)]}):
        result = round_trip(value)
        for array in [result] if isinstance(result, np.ndarray) else result["in"]:
            assert not array.flags.writeable
            assert array.ctypes.data % 64 == 0
            with pytest.raises(ValueError):
                array[0] = 1
            with pytest.raises(ValueError):
                array.flags.writeable = True


def _aligned_copy(data):
    """`data` in writable memory that starts at a multiple of 64, as in the object store."""
    room = np.zeros(len(data) + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    view = room[start : start + len(data)]
    view[:] = np.frombuffer(data, dtype=np.uint8)
    return view


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a, "beside"]], ids=["array", "pickled"])
def test_large_data_is_not_copied(wrap):
    array = np.arange(100_000)
    stored = _aligned_copy(_core.encode(wrap(array)))
    result = _core.decode(stored)
    result = result[0] if isinstance(result, list) else result
    low, high = stored.ctypes.data, stored.ctypes.data + len(stored)
    assert low <= result.ctypes.data < high


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a]], ids=["array", "pickled"])
def test_the_bytes_live_exactly_as_long_as_views_of_them(wrap):
    class Memory(np.ndarray):  # weakly referable
        pass

    stored = _aligned_copy(_core.encode(wrap(np.arange(50_000)))).view(Memory)
    alive = weakref.ref(stored)
    result = _core.decode(stored)
    del stored
    array = result[0] if isinstance(result, list) else result
    part = array[10:20].reshape(2, 5)
    del result, array
    gc.collect()
    assert alive() is not None and part[0, 0] == 10
    del part
    gc.collect()
    assert alive() is None


def test_values_without_arrays_do_not_hold_the_bytes():
    class Memory(np.ndarray):
        pass

    stored = _aligned_copy(_core.encode(["x" * 5000, b"y" * 5000, {1, 2}])).view(Memory)
    alive = weakref.ref(stored)
    result = _core.decode(stored)
    del stored
    gc.collect()
    assert alive() is None and result[1] == b"y" * 5000


def test_a_source_is_held_until_it_is_written():
    """Encoding refers to big buffers; whoever resizes or frees them meanwhile must not matter."""
    array = np.arange(100_000)
    data = _core.encode([array, b"z" * 10_000])
    del array
    assert _core.decode(data)[0][-1] == 99_999


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_truncated_value_is_an_error(cut):
    data = _core.encode("some text")
    with pytest.raises(ValueError, match="ends before"):
        _core.decode(data[:-cut])
    with pytest.raises(ValueError):
        _core.decode(b"")


def _msgpack(body):
    return bytes([64]) + len(body).to_bytes(8, "little") + body


def test_another_languages_value_is_read():
    # {"a": [1, -1, 2.5, None, True], "b": b"x"}
    body = b"\x82\xa1a\x95\x01\xff\xcb\x40\x04\0\0\0\0\0\0\xc0\xc3\xa1b\xc4\x01x"
    assert _core.decode(_msgpack(body)) == {"a": [1, -1, 2.5, None, True], "b": b"x"}
    assert _core.decode(_msgpack(b"\xcf" + b"\xff" * 8)) == 2**64 - 1
    assert _core.decode(_msgpack(b"\x81\x92\x01\x02\x03")) == {(1, 2): 3}


@pytest.mark.parametrize("body", [b"\x92\x01", b"\xc1", b"\xd4\x05x", b"\xa1\xff"])
def test_a_damaged_msgpack_value_is_an_error(body):
    with pytest.raises(ValueError):
        _core.decode(_msgpack(body))


def test_an_unknown_form_says_so():
    with pytest.raises(ValueError, match="not known"):
        _core.decode(bytes([200]))


def test_classes_of_main_travel_by_value():
    class Local:
        x = 5

    data = _core.encode(Local())
    assert data[0] == PICKLE and _core.decode(data).x == 5


def test_registered_serializers():
    class Handle:
        def __init__(self, number):
            self.number = number

        def __reduce__(self):
            raise TypeError("has no pickle of its own")

    with pytest.raises(TypeError):
        _core.encode(Handle(3))
    register_serializer(Handle, serializer=lambda h: h.number, deserializer=lambda n: Handle(n + 1))
    try:
        assert round_trip([Handle(3)])[0].number == 4
    finally:
        deregister_serializer(Handle)
    with pytest.raises(TypeError):
        _core.encode(Handle(3))


def test_refs_inside_values(runtime):
    ref = runtime.put("inner")
    assert tag([ref]) == LIST and tag({ref: 1}) == DICT and tag(ref) == REF
    for value in ([ref], (ref,), {"k": ref}, {ref}, [[{"deep": (ref,)}]]):
        assert round_trip(value) == value
    assert runtime.get(round_trip([ref])[0]) == "inner"


def test_task_errors_travel():
    error = exceptions.RayTaskError("m.f", "Traceback\n", ValueError("x"), "ray::f()", 1, "ip")
    dual = cloudpickle.loads(cloudpickle.dumps(error.as_instanceof_cause()))
    assert isinstance(dual, ValueError) and isinstance(dual, exceptions.RayTaskError)
    assert str(dual) == str(error)
