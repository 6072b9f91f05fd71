# SPDX-License-Identifier: Apache-2.0
"""An exception in a task: which class get() raises, what it says, how it travels on."""

import pickle
import traceback

import pytest
import ray
from ray.exceptions import RayError, RayTaskError
from support import get

pytestmark = pytest.mark.usefixtures("ray_2cpu")


class AppError(Exception):
    def __init__(self, code, detail):
        super().__init__(f"code {code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self):
        return AppError, (self.code, self.detail)


class NoReduce(Exception):
    """Pickles, but its constructor refuses what pickle gives it back."""

    def __init__(self, first, second):
        super().__init__("only one argument is kept")


class Unpicklable(Exception):
    def __reduce__(self):
        raise RuntimeError("I do not pickle")


@ray.remote
def identity(value):
    return value


@ray.remote
def divide(a, b):
    quotient = a / b  # the line that the report must show
    return quotient


@ray.remote
def raise_it(error):
    raise error


def raised(ref):
    """The exception that get() raises."""
    with pytest.raises(Exception) as info:
        get(ref)
    return info.value


def test_it_is_a_task_error_and_its_cause():
    error = raised(divide.remote(1, 0))
    assert isinstance(error, RayTaskError) and isinstance(error, RayError)
    assert isinstance(error, ZeroDivisionError)
    assert type(error).__name__ == "RayTaskError(ZeroDivisionError)"


def test_except_with_the_cause_class():
    try:
        get(divide.remote(1, 0))
    except ZeroDivisionError as error:
        caught = error
    assert isinstance(caught.cause, ZeroDivisionError)
    assert str(caught.cause) == "division by zero"


def test_the_text_shows_where_it_happened():
    text = str(raised(divide.remote(1, 0)))
    assert "divide" in text
    assert "the line that the report must show" in text
    assert "test_errors.py" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "pid=" in text and "ip=" in text


def test_the_text_has_no_frames_of_the_runtime():
    text = str(raised(divide.remote(1, 0)))
    frames = [line for line in text.splitlines() if line.strip().startswith("File ")]
    assert frames and all("test_errors.py" in line for line in frames), text


def test_attributes_of_the_cause_are_there():
    error = raised(raise_it.remote(AppError(17, "disk")))
    assert isinstance(error, AppError)
    assert error.code == 17 and error.detail == "disk"
    assert error.cause.code == 17


def test_a_chain_of_causes():
    @ray.remote
    def chained():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer") from error

    error = raised(chained.remote())
    assert isinstance(error, ValueError)
    assert "KeyError" in str(error) and "missing" in str(error) and "outer" in str(error)


@pytest.mark.parametrize(
    "error",
    [ValueError("v"), KeyError("k"), OSError(2, "gone"), RuntimeError(), StopIteration(3), AssertionError("a"), TimeoutError("t"), MemoryError("m")],
    ids=lambda e: type(e).__name__,
)
def test_builtin_errors(error):
    assert isinstance(raised(raise_it.remote(error)), type(error))


def test_a_class_of_the_function():
    @ray.remote
    def local():
        class Local(Exception):
            pass

        raise Local("made here")

    error = raised(local.remote())
    assert isinstance(error, RayTaskError)
    assert "made here" in str(error)


def test_an_error_that_cannot_be_rebuilt():
    error = raised(raise_it_made.remote("NoReduce"))
    assert isinstance(error, RayError)
    assert "NoReduce" in str(error) and "only one argument is kept" in str(error)


@pytest.mark.ours_only("there the worker crashes and the task is retried")
def test_an_error_that_cannot_be_pickled():
    error = raised(raise_it_made.remote("Unpicklable"))
    assert isinstance(error, RayTaskError)
    assert "Unpicklable" in str(error)


@ray.remote
def raise_it_made(name):
    if name == "NoReduce":
        raise NoReduce(1, 2)
    raise Unpicklable("secret")


def test_a_result_that_cannot_be_pickled():
    @ray.remote
    def generator_as_result():
        import threading

        return threading.Lock()

    assert isinstance(raised(generator_as_result.remote()), TypeError)


def test_an_error_as_argument_fails_the_dependent_without_running_it():
    error = raised(identity.remote(divide.remote(1, 0)))
    assert isinstance(error, ZeroDivisionError)
    assert "divide" in str(error)


def test_through_a_long_chain():
    ref = divide.remote(1, 0)
    for _ in range(10):
        ref = identity.remote(ref)
    assert isinstance(raised(ref), ZeroDivisionError)


def test_an_error_in_a_nested_ref_does_not_fail_the_task():
    @ray.remote
    def look(box):
        try:
            ray.get(box[0])
        except ZeroDivisionError:
            return "seen"

    assert get(look.remote([divide.remote(1, 0)])) == "seen"


def test_a_nested_task_error_reaches_the_driver():
    @ray.remote
    def outer():
        return ray.get(divide.remote(1, 0))

    error = raised(outer.remote())
    assert isinstance(error, ZeroDivisionError)
    assert "outer" in str(error) and "divide" in str(error)


def test_every_result_of_a_failed_task_is_the_error():
    @ray.remote(num_returns=3)
    def three():
        raise ValueError("all three")

    for ref in three.remote():
        assert isinstance(raised(ref), ValueError)


def test_an_error_returned_as_a_value_is_a_value():
    error = get(identity.remote(ValueError("just data")))
    assert isinstance(error, ValueError) and not isinstance(error, RayTaskError)


@pytest.mark.ours_only("there plain pickle does not find the combined class")
def test_a_task_error_can_be_pickled():
    error = raised(raise_it.remote(AppError(3, "x")))
    copy = pickle.loads(pickle.dumps(error))
    assert "code 3" in str(copy)


def test_formatting_a_task_error():
    error = raised(divide.remote(1, 0))
    text = "".join(traceback.format_exception(error))
    assert "the line that the report must show" in text
    assert "ZeroDivisionError" in repr(error)


def test_base_exceptions_do_not_hang():
    @ray.remote(max_retries=0)
    def exit_now():
        raise SystemExit(1)

    assert isinstance(raised(exit_now.remote()), RayError)


def test_a_keyboard_interrupt_of_the_task_is_an_error():
    @ray.remote(max_retries=0)
    def interrupt():
        raise KeyboardInterrupt

    assert isinstance(raised(interrupt.remote()), RayError)


def test_a_function_that_cannot_be_pickled():
    import threading

    lock = threading.Lock()

    @ray.remote
    def uses_lock():
        with lock:
            return 1

    with pytest.raises(TypeError, match="lock"):
        uses_lock.remote()


def test_an_argument_that_cannot_be_pickled():
    import threading

    with pytest.raises(TypeError, match="lock"):
        identity.remote(threading.Lock())


def test_a_module_missing_in_the_worker_is_reported(tmp_path):
    @ray.remote
    def needs():
        import a_module_that_nobody_has  # noqa: F401

    error = raised(needs.remote())
    assert isinstance(error, ModuleNotFoundError)
    assert "a_module_that_nobody_has" in str(error)


def test_an_argument_that_fails_to_unpickle():
    class Explodes:
        def __reduce__(self):
            return explode, ()

    error = raised(identity.remote(Explodes()))
    assert "boom while unpickling" in str(error)


def explode():
    raise RuntimeError("boom while unpickling")


def test_a_worker_goes_on_after_an_error():
    for _ in range(20):
        assert isinstance(raised(divide.remote(1, 0)), ZeroDivisionError)
    assert get([divide.remote(4, 2) for _ in range(10)]) == [2.0] * 10


def test_recursion_limit_is_an_error_not_a_crash():
    @ray.remote
    def endless():
        def down():
            return down()

        return down()

    assert isinstance(raised(endless.remote()), RecursionError)


def test_exception_groups_keep_their_members():
    @ray.remote
    def group():
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    error = raised(group.remote())
    assert "several" in str(error)
    assert isinstance(error, RayTaskError)


class Heavy(Exception):
    def __init__(self, ballast):
        super().__init__("heavy")
        self.ballast = ballast

    def __reduce__(self):
        return Heavy, (self.ballast,)


def test_a_large_error_of_a_task_with_several_results():
    """More than fits into one message: it is stored, and each result has it."""

    @ray.remote(num_returns=3)
    def fail():
        raise Heavy(bytes(9_000_000))

    for ref in fail.remote():
        error = raised(ref)
        assert isinstance(error, Heavy) and len(error.ballast) == 9_000_000


def test_hundreds_of_arguments_just_small_enough_to_travel_with_the_call():
    @ray.remote
    def total(*parts):
        return sum(len(part) for part in parts)

    assert get(total.remote(*[bytes(90_000)] * 300)) == 300 * 90_000
