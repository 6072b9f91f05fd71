# SPDX-License-Identifier: Apache-2.0
"""Declaring and calling remote functions: arguments, results, closures, redefinition."""

import functools
import os

import pytest
import ray
from support import eventually, get, run_program

pytestmark = pytest.mark.usefixtures("ray_2cpu")


@ray.remote
def describe(a, b=2, *rest, c=3, **more):
    return a, b, rest, c, more


@ray.remote
def identity(value):
    return value


@ray.remote
def is_ref(value):
    return isinstance(value, ray.ObjectRef)


@ray.remote
def factorial(n):
    return 1 if n <= 1 else n * ray.get(factorial.remote(n - 1))


FACTOR = 7


@ray.remote
def times_factor(x):
    return x * FACTOR


@pytest.mark.parametrize(
    "args, kwargs, expected",
    [
        ((1,), {}, (1, 2, (), 3, {})),
        ((1, 5), {}, (1, 5, (), 3, {})),
        ((1, 5, 6, 7), {}, (1, 5, (6, 7), 3, {})),
        ((), {"a": 1}, (1, 2, (), 3, {})),
        ((1,), {"c": 9, "d": 10}, (1, 2, (), 9, {"d": 10})),
        ((1,), {"b": None, "options": 1}, (1, None, (), 3, {"options": 1})),
    ],
)
def test_arguments_arrive_as_in_a_plain_call(args, kwargs, expected):
    assert get(describe.remote(*args, **kwargs)) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        2**200,
        0.1,
        float("inf"),
        1 + 2j,
        "",
        "text",
        "mit Ümläuten \u4e2d\u6587 \U0001f680",
        b"",
        b"\x00\xff" * 10,
        (),
        (1, (2, (3,))),
        [],
        [1, [2, [3]]],
        {},
        {"a": {"b": [1, 2]}, 3: None, (4, 5): "tuple key"},
        {1, 2},
        frozenset({"x"}),
        range(3),
        slice(1, 2, 3),
        Ellipsis,
    ],
    ids=repr,
)
def test_plain_values_survive_the_round_trip(value):
    result = get(identity.remote(value))
    assert result == value and type(result) is type(value)


def test_nan_survives_the_round_trip():
    assert get(identity.remote(float("nan"))) != 0


def test_a_single_precision_of_types_is_kept_inside_containers():
    value = [True, 1, 1.0, "1", b"1", None]
    assert [type(item) for item in get(identity.remote(value))] == [type(item) for item in value]


def test_instances_of_local_classes_travel():
    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

        def __eq__(self, other):
            return (self.x, self.y) == (other.x, other.y)

    result = get(identity.remote(Point(1, 2)))
    assert (result.x, result.y) == (1, 2)


def test_functions_and_lambdas_travel_as_values():
    @ray.remote
    def apply(function, *args):
        return function(*args)

    assert get(apply.remote(lambda x, y: x * y, 6, 7)) == 42
    assert get(apply.remote(functools.partial(pow, 2), 10)) == 1024


def test_arguments_are_copies():
    data = [1, 2, 3]

    @ray.remote
    def change(items):
        items.append(4)
        return items

    assert get(change.remote(data)) == [1, 2, 3, 4]
    assert data == [1, 2, 3]


def test_an_argument_is_taken_at_the_time_of_the_call():
    data = [1]
    ref = identity.remote(data)
    data.append(2)
    assert get(ref) == [1]


def test_a_ref_as_argument_arrives_as_its_value():
    assert get(identity.remote(identity.remote(5))) == 5
    assert get(is_ref.remote(identity.remote(5))) is False
    assert get(describe.remote(identity.remote(1), c=identity.remote(2))) == (1, 2, (), 2, {})


def test_a_ref_inside_a_container_stays_a_ref():
    @ray.remote
    def look(items):
        kinds = [isinstance(item, ray.ObjectRef) for item in items]
        return kinds, ray.get(items)

    assert get(look.remote([ray.put(1), ray.put(2)])) == ([True, True], [1, 2])


def test_a_returned_ref_is_not_resolved():
    @ray.remote
    def indirect():
        return identity.remote("inner")

    inner = get(indirect.remote())
    assert isinstance(inner, ray.ObjectRef)
    assert get(inner) == "inner"


def test_a_long_chain_of_dependencies():
    @ray.remote
    def add_one(x):
        return x + 1

    ref = 0
    for _ in range(100):
        ref = add_one.remote(ref)
    assert get(ref) == 100


def test_one_ref_as_many_arguments():
    @ray.remote
    def total(*numbers):
        return sum(numbers)

    one = ray.put(1)
    assert get(total.remote(*[one] * 500)) == 500


def test_closures_and_globals():
    local = {"answer": 42}

    @ray.remote
    def read():
        return local["answer"], FACTOR

    assert get(read.remote()) == (42, 7)
    assert get(times_factor.remote(6)) == 42


def test_a_closure_over_a_ref():
    data = ray.put(list(range(5)))

    @ray.remote
    def read():
        return sum(ray.get(data))

    assert get(read.remote()) == 10


def test_a_closure_is_captured_at_the_first_call():
    state = [1]

    @ray.remote
    def read():
        return state[0]

    assert get(read.remote()) == 1
    state[0] = 2
    assert get(read.remote()) == 1


def test_recursion():
    assert get(factorial.remote(6)) == 720


def test_mutual_use_of_remote_functions():
    @ray.remote
    def even(n):
        return True if n == 0 else ray.get(odd.remote(n - 1))

    @ray.remote
    def odd(n):
        return False if n == 0 else ray.get(even.remote(n - 1))

    assert get(even.remote(4)) is True


def test_a_redefined_function_is_exported_anew():
    results = []
    for value in range(3):

        @ray.remote
        def constant():
            return value

        results.append(get(constant.remote()))
    assert results == [0, 1, 2]


def test_the_same_text_twice_makes_two_functions():
    def make(n):
        @ray.remote
        def tell():
            return n

        return tell

    first, second = make(1), make(2)
    assert get([first.remote(), second.remote(), first.remote()]) == [1, 2, 1]


def test_remote_as_a_plain_call():
    def double(x):
        return 2 * x

    assert get(ray.remote(double).remote(21)) == 42
    assert get(ray.remote(num_cpus=1)(double).remote(21)) == 42


def test_calling_a_remote_function_directly_is_refused():
    with pytest.raises(TypeError, match="remote"):
        describe(1)


@pytest.mark.parametrize(
    "args, kwargs",
    [((), {}), ((1,), {"a": 2}), ((), {"b": 1})],
    ids=["missing", "twice", "missing with others"],
)
def test_arguments_that_do_not_fit_fail_at_the_call(args, kwargs):
    with pytest.raises(TypeError):
        describe.remote(*args, **kwargs)


def test_too_many_arguments_fail_at_the_call():
    with pytest.raises(TypeError):
        identity.remote(1, 2)
    with pytest.raises(TypeError):
        identity.remote(1, other=2)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_num_returns(count):
    @ray.remote(num_returns=count)
    def several():
        return list(range(count))

    refs = several.remote()
    assert isinstance(refs, list) and len(refs) == count
    assert get(refs) == list(range(count))
    # each result stands for itself
    assert get(refs[-1]) == count - 1


def test_num_returns_one_and_zero():
    @ray.remote(num_returns=1)
    def one():
        return [1, 2]

    @ray.remote(num_returns=0)
    def nothing(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("ran")

    assert get(one.remote()) == [1, 2]
    path = f"/tmp/test-num-returns-{os.getpid()}"
    assert nothing.remote(path) is None
    assert eventually(lambda: os.path.exists(path) and open(path, encoding="utf-8").read() == "ran")
    os.unlink(path)


def test_num_returns_through_options():
    @ray.remote
    def several(n):
        return tuple(range(n))

    first, second = several.options(num_returns=2).remote(2)
    assert get([second, first]) == [1, 0]


@pytest.mark.parametrize("returned", [(1,), (1, 2, 3)])
def test_a_wrong_number_of_results_is_an_error_of_every_ref(returned):
    @ray.remote(num_returns=2)
    def wrong():
        return returned

    for ref in wrong.remote():
        with pytest.raises(ValueError):
            get(ref)


def test_a_single_value_where_two_were_promised():
    @ray.remote(num_returns=2)
    def wrong():
        return 1

    first, _ = wrong.remote()
    with pytest.raises((TypeError, ValueError)):
        get(first)


def test_num_returns_accepts_any_iterable_of_the_right_length():
    @ray.remote(num_returns=2)
    def pair(kind):
        return {"tuple": (1, 2), "list": [1, 2]}[kind]

    assert get(pair.remote("tuple")) == [1, 2]
    assert get(pair.remote("list")) == [1, 2]


def test_three_thousand_results_of_one_task():
    @ray.remote(num_returns=3000)
    def many():
        return range(3000)

    assert get(many.remote()) == list(range(3000))


def test_ten_thousand_small_tasks():
    assert get([identity.remote(i) for i in range(10_000)]) == list(range(10_000))


def test_async_functions_are_refused():
    with pytest.raises(ValueError, match="async"):

        @ray.remote
        async def coroutine():
            return 1


def test_things_that_cannot_be_remote():
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(42)
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(num_cpus=1)(42)


def test_modules_beside_the_program_are_found_by_workers(tmp_path):
    (tmp_path / "beside.py").write_text("def value():\n    return 'from beside'\n")
    result = run_program(
        tmp_path,
        """
        import ray
        import beside

        @ray.remote
        def use():
            return beside.value()

        ray.init(num_cpus=1)
        print(ray.get(use.remote(), timeout=60))
        ray.shutdown()
        """,
    )
    assert result.returncode == 0, result.stderr
    assert "from beside" in result.stdout


def test_classes_of_main_travel_both_ways(tmp_path):
    result = run_program(
        tmp_path,
        """
        import ray

        class Pair:
            def __init__(self, a, b):
                self.a, self.b = a, b

        @ray.remote
        def swap(pair):
            return Pair(pair.b, pair.a)

        if __name__ == "__main__":
            ray.init(num_cpus=1)
            pair = ray.get(swap.remote(Pair(1, 2)), timeout=60)
            assert type(pair) is Pair
            print(pair.a, pair.b)
            ray.shutdown()
        """,
    )
    assert result.returncode == 0, result.stderr
    assert "2 1" in result.stdout


def test_the_first_remote_call_starts_the_runtime(tmp_path):
    result = run_program(
        tmp_path,
        """
        import ray

        @ray.remote
        def f():
            return 11

        assert not ray.is_initialized()
        print("result", ray.get(f.remote(), timeout=60))
        assert ray.is_initialized()
        """,
    )
    assert result.returncode == 0, result.stderr
    assert "result 11" in result.stdout
