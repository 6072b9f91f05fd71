# SPDX-License-Identifier: Apache-2.0
"""What actors refuse, with the class of error that Ray raises: options of classes, methods and calls."""

import threading
import time

import pytest
import ray
from ray import exceptions
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


class Plain:
    def __init__(self, *_):
        pass

    def value(self):
        return 1


class Async:
    async def value(self):
        return 1


# keyword, value, error; raised by the decorator and by .options(), before anything is made
WRITTEN = [
    ("max_concurrency", -1, ValueError),
    ("max_concurrency", "a", TypeError),
    ("max_concurrency", 1.5, TypeError),
    ("max_restarts", -2, ValueError),
    ("max_restarts", 1.0, TypeError),
    ("max_task_retries", -2, ValueError),
    ("max_pending_calls", -2, ValueError),
    ("max_pending_calls", "x", TypeError),
    ("concurrency_groups", "io", TypeError),
    ("allow_out_of_order_execution", 1, TypeError),
    ("lifetime", "x", ValueError),
    ("lifetime", 3, TypeError),
    ("name", 1, TypeError),
    ("namespace", 1, TypeError),
    ("get_if_exists", 1, TypeError),
    ("num_cpus", -1, ValueError),
    ("num_cpus", 0.00001, ValueError),
    ("resources", {"CPU": 1}, ValueError),
    ("resources", {"x": "a"}, TypeError),
    ("resources", {"x": -1}, ValueError),
    ("placement_group", 1, TypeError),
    ("_actor_generator_backpressure_num_objects", 0, ValueError),
    ("num_returns", 1, ValueError),
    ("max_calls", 1, ValueError),
    ("max_retries", 1, ValueError),
    ("bogus", 1, ValueError),
]

# options, class, error; raised by .remote()
MADE = [
    ({"concurrency_groups": {"io": -1}}, Plain, OverflowError),
    ({"concurrency_groups": {"io": "a"}}, Plain, TypeError),
    ({"concurrency_groups": {"io": None}}, Plain, TypeError),
    ({"concurrency_groups": ["io"]}, Plain, TypeError),
    ({"max_restarts": None}, Plain, TypeError),
    ({"max_task_retries": None}, Plain, TypeError),
    ({"max_pending_calls": None}, Plain, TypeError),
    ({"name": ""}, Plain, ValueError),
    ({"name": "n", "namespace": ""}, Plain, ValueError),
    ({"max_concurrency": 2, "allow_out_of_order_execution": False}, Plain, ValueError),
    ({"allow_out_of_order_execution": False}, Async, ValueError),
]

# keyword, value, error of @ray.method(keyword=value)
METHOD = [
    ("num_returns", -1, ValueError),
    ("num_returns", "a", TypeError),
    ("max_task_retries", "a", TypeError),
    ("retry_exceptions", "a", AssertionError),
    ("_generator_backpressure_num_objects", 0, ValueError),
    ("tensor_transport", "bogus", ValueError),
    ("name", "x", AssertionError),
    ("num_cpus", 1, AssertionError),
    ("bogus", 1, AssertionError),
]

# the same for handle.method.options(keyword=value).remote()
CALL = [
    ("num_returns", -1, ValueError),
    ("num_returns", "a", TypeError),
    ("concurrency_group", 1, TypeError),
    ("max_task_retries", "a", TypeError),
    ("retry_exceptions", "a", AssertionError),
    ("bogus", 1, TypeError),
    ("num_cpus", 1, TypeError),
]


@pytest.mark.parametrize(("keyword", "value", "error"), WRITTEN)
def test_options_that_cannot_be_written(keyword, value, error):
    with pytest.raises(error):
        ray.remote(**{keyword: value})(Plain)
    with pytest.raises(error):
        ray.remote(Plain).options(**{keyword: value})


@pytest.mark.parametrize(("options", "cls", "error"), MADE)
def test_options_that_cannot_be_made(options, cls, error):
    actor_class = ray.remote(**options)(cls)
    with pytest.raises(error):
        actor_class.remote()


@pytest.mark.parametrize(("keyword", "value", "error"), METHOD)
def test_options_of_methods(keyword, value, error):
    def use():
        class Decorated:
            @ray.method(**{keyword: value})
            def one(self):
                return 1

        return ray.remote(Decorated).remote().one.remote()

    with pytest.raises(error):
        use()


@pytest.fixture(scope="module")
def plain():
    return ray.remote(Plain).remote()


@pytest.mark.parametrize(("keyword", "value", "error"), CALL)
def test_options_of_calls(plain, keyword, value, error):
    with pytest.raises(error):
        plain.value.options(**{keyword: value}).remote()


@pytest.mark.parametrize("group", ["other", "", None])
def test_a_method_of_a_group_that_the_class_has_not(group):
    class Lost:
        @ray.method(concurrency_group=group)
        def value(self):
            return 1

    with pytest.raises(AssertionError):
        ray.remote(concurrency_groups={"io": 1})(Lost).remote()


def test_the_bare_decorator_and_its_misuse(plain):
    class Bare:
        @ray.method
        def value(self):
            return 2

    assert get(ray.remote(Bare).remote().value.remote()) == 2
    with pytest.raises(AssertionError):
        ray.method(2)


def test_misuse_of_handles_and_names(plain):
    with pytest.raises(TypeError):
        plain.value()
    with pytest.raises(TypeError):
        ray.remote(Plain)()
    with pytest.raises(AttributeError):
        plain.nothing.remote()
    for not_an_actor in (1, plain.value.remote(), ray.remote(Plain)):
        with pytest.raises(ValueError):
            ray.kill(not_an_actor)
    with pytest.raises(ValueError):
        ray.cancel(plain.value.remote(), force=True)
    for name in ("nobody", ""):
        with pytest.raises(ValueError):
            ray.get_actor(name)
    with pytest.raises(TypeError):
        ray.actor.exit_actor()
    with pytest.raises(AssertionError):
        ray.remote(Plain())


def test_max_pending_calls():
    class Slow:
        def __init__(self):
            self.gate = threading.Event()

        def wait(self):
            return self.gate.wait(20)

        def go(self):
            self.gate.set()

    actor = ray.remote(max_pending_calls=2, max_concurrency=4)(Slow).remote()
    waiting = [actor.wait.remote() for _ in range(2)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded):
        actor.wait.remote()

    @ray.remote  # another process has a limit of its own
    def open_it(handle):
        get(handle.go.remote())

    get(open_it.remote(actor))
    assert get(waiting) == [True, True]
    get(actor.go.remote())


def test_out_of_order_execution():
    @ray.remote
    def late():
        time.sleep(1)

    class Seen:
        def __init__(self):
            self.seen = []

        def add(self, number, _=None):
            self.seen.append(number)
            return list(self.seen)

    for allowed, order in ((False, [1, 2]), (True, [2, 1])):
        actor = ray.remote(allow_out_of_order_execution=allowed)(Seen).remote()
        first, second = actor.add.remote(1, late.remote()), actor.add.remote(2)
        assert max(get([first, second]), key=len) == order
