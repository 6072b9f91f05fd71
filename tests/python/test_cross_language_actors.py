# SPDX-License-Identifier: Apache-2.0
"""Actors across languages: those of C++ made and called by Python, those of Python by C++, handles and names of both."""

import os
import shutil
import subprocess
import sys

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, CrossLanguageError, RayActorError, TaskCancelledError
from support import RAY_MPI, TREE, compile_cpp, eventually, get

pytestmark = pytest.mark.ours_only("builds a C++ library")

LIBRARY = """
#include <ray/api.h>
#include <stdexcept>
#include <thread>
namespace shop {
class Counter {
 public:
  static Counter* Create() { return new Counter(0); }
  static Counter* Create(int start) { return new Counter(start); }
  static Counter* Refuse(std::string why) { throw std::invalid_argument(why); }
  int Add(int n) { return value_ += n; }
  int Add(int n, int times) { return value_ += n * times; }
  int Value() const { return value_; }
  std::vector<double> Row(int n) { return std::vector<double>(n, value_); }
  int Throw() { throw std::out_of_range("from a method"); }
  int Exit() { ray::ExitActor(); }
  int Die() { std::abort(); }
  bool Restarted() { return ray::WasCurrentActorRestarted(); }
  int Sleep(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); return ms; }
  ray::ActorHandle<Counter> Child(int start);
  int AddTo(ray::ActorHandle<Counter> other, int n);
  int AddToFirst(std::vector<ray::ActorHandle<Counter>> others, int n) { return AddTo(others.at(0), n); }
  int AddInPython(ray::ActorHandleXlang other, int n) {
    return *ray::Get(other.Task(ray::PyActorMethod<int>{"add"}).Remote(n));
  }
  ray::ActorHandleXlang PassOn(ray::ActorHandleXlang other) { return other; }
  int AddToNamed(std::string name, int n);
  int MakeInPython(int start) {
    auto tally = ray::Actor(ray::PyActorClass{"cross_actors", "Tally"}).Remote(start);
    return *ray::Get(tally.Task(ray::PyActorMethod<int>{"add"}).Remote(1));
  }
 private:
  explicit Counter(int value) : value_(value) {}
  int value_;
};
}
using shop::Counter;
RAY_REMOTE(RAY_FUNC(Counter::Create), RAY_FUNC(Counter::Create, int), Counter::Refuse, RAY_FUNC(&Counter::Add, int, int));
RAY_REMOTE(RAY_FUNC(&Counter::Add, int), &Counter::Value, &Counter::Row, &Counter::Throw, &Counter::Exit, &Counter::Die);
RAY_REMOTE(&Counter::Restarted, &Counter::Sleep, &Counter::Child, &Counter::AddTo, &Counter::AddToFirst);
RAY_REMOTE(&Counter::AddInPython, &Counter::PassOn, &Counter::AddToNamed, &Counter::MakeInPython);
ray::ActorHandle<Counter> Counter::Child(int start) { return ray::Actor(RAY_FUNC(Counter::Create, int)).Remote(start); }
int Counter::AddTo(ray::ActorHandle<Counter> other, int n) {
  return *ray::Get(other.Task(RAY_FUNC(&Counter::Add, int)).Remote(n));
}
int Counter::AddToNamed(std::string name, int n) {
  auto found = ray::GetActor(name);
  return found ? AddInPython(*found, n) : -1;
}
"""
MODULE = """
import ray
class Tally:
    def __init__(self, start=0):
        if start < 0:
            raise KeyError("a negative start")
        self.value = start
    def add(self, n):
        self.value += n
        return self.value
    def fail(self):
        raise IndexError("from a Python method")
    def odd(self):
        return object()
    def exit(self):
        ray.actor.exit_actor()
    def add_to(self, other, n):
        return ray.get(getattr(other, "RAY_FUNC(&Counter::Add, int)").remote(n))
@ray.remote
class Decorated(Tally):
    async def add_later(self, n):
        return self.add(n)
def add_to_named(name, n):
    return ray.get(ray.get_actor(name).add.remote(n))
def add_to_counter(name, n):
    return ray.get(getattr(ray.get_actor(name), "RAY_FUNC(&Counter::Add, int)").remote(n))
"""
ADD = "RAY_FUNC(&Counter::Add, int)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actors")
    (folder / "cross.cc").write_text(LIBRARY)
    (folder / "cross_actors.py").write_text(MODULE)
    compile_cpp(folder, "cross.cc", "cross.so", "-fPIC", "-shared")
    return str(folder)


@pytest.fixture(scope="module")
def cpp(folder):
    ray.init(num_cpus=2, job_config=ray.job_config.JobConfig(code_search_path=[folder]))
    sys.path.insert(0, folder)
    yield ray.cross_language.cpp_actor_class
    sys.path.remove(folder)
    ray.shutdown()


@pytest.fixture
def counters(cpp):
    return cpp("RAY_FUNC(Counter::Create, int)", "Counter")


def add(counter, n):
    return getattr(counter, ADD).remote(n)


def test_python_makes_and_calls_actors_of_cpp(cpp, counters):
    counter = counters.remote(5)
    assert get([add(counter, 1) for _ in range(100)]) == list(range(6, 106))
    assert get(getattr(counter, "RAY_FUNC(Counter::Add,int,int)").remote(2, 3)) == 111
    assert get(counter.Value.options(name="value").remote()) == 111
    assert get(counter.Row.remote(20_000)).sum() == 111 * 20_000
    assert get(add(counter, counter.Value.remote())) == 222
    assert get(cpp("RAY_FUNC(Counter::Create)", "shop::Counter").remote().Value.remote()) == 0  # the full name
    assert repr(counter).startswith("Actor(Counter, ")
    assert repr(counters) == "<ray.cross_language.CppActorClass Counter>"


def test_options(counters):
    several = counters.options(max_concurrency=2, num_cpus=1).remote(0)
    slow = several.Sleep.remote(20_000)
    assert get(several.Sleep.remote(1)) == 1
    ray.kill(several)
    with pytest.raises(RayActorError):
        get(slow)
    with pytest.raises(ValueError, match="num_returns"):
        get(several.Value.options(num_returns=2).remote())
    with pytest.raises(ValueError, match="retry_exceptions"):
        several.Value.options(retry_exceptions=[KeyError]).remote()
    with pytest.raises(ValueError, match="concurrency_groups"):
        counters.options(concurrency_groups={"io": 2}).remote(0)
    with pytest.raises(ValueError, match="concurrency_group: an actor of C"):
        several.Value.options(concurrency_group="io").remote()
    with pytest.raises(ValueError, match="Invalid option keyword"):
        counters.options(no_such=1)


def test_errors_of_cpp_actors(cpp, counters):
    counter = counters.remote(1)
    with pytest.raises(CrossLanguageError, match="std::out_of_range: from a method") as error:
        get(counter.Throw.remote())
    assert error.value.function == "Counter::Throw"
    with pytest.raises(CrossLanguageError, match="no RAY_REMOTE names the function Counter::Nobody"):
        get(counter.Nobody.remote())
    with pytest.raises(CrossLanguageError, match="takes 0 arguments, but was called with 1"):
        get(counter.Value.remote(1))
    with pytest.raises(TypeError, match="kwargs"):
        counter.Value.remote(n=1)
    with pytest.raises(TypeError, match="kwargs"):
        counters.remote(start=1)
    assert get(counter.Value.remote()) == 1
    with pytest.raises(ActorDiedError, match="constructor Counter::Refuse failed with std::invalid_argument: too dear"):
        get(cpp("Counter::Refuse", "Counter").remote("too dear").Value.remote())
    with pytest.raises(ActorDiedError, match="no RAY_REMOTE names the function Counter::Missing"):
        get(cpp("Counter::Missing", "Counter").remote().Value.remote())
    with pytest.raises(ActorDiedError, match="argument 1 cannot be read: it is text"):
        get(counters.remote("one").Value.remote())
    with pytest.raises(ActorDiedError, match="ExitActor"):
        get(counter.Exit.remote())
    function = ray.cross_language.cpp_function
    with pytest.raises(CrossLanguageError, match="makes an actor: name it with ray.cross_language.cpp_actor_class"):
        get(function("RAY_FUNC(Counter::Create, int)").remote(1))
    with pytest.raises(CrossLanguageError, match="is a method of an actor: call it through the actor's handle"):
        get(function("Counter::Value").remote())
    with pytest.raises(ActorDiedError, match="makes no actor: a factory is a function that returns a pointer"):
        get(cpp("Counter::Value", "Counter").remote().Value.remote())
    for names in (("", "Counter"), ("Counter::Create", 5)):
        with pytest.raises(TypeError, match="the names that stand in RAY_REMOTE"):
            cpp(*names)


def test_cpp_actors_are_restarted(counters):
    counter = counters.options(max_restarts=1).remote(7)
    assert get(add(counter, 1)) == 8
    with pytest.raises(ActorUnavailableError):
        get(counter.Die.remote())
    assert get(counter.Value.remote()) == 7
    assert get(counter.Restarted.remote()) is True
    with pytest.raises(ActorDiedError, match="class_name: Counter"):
        get(counter.Die.remote())


def test_cancel_drops_calls_that_have_not_started(counters):
    counter = counters.remote(3)
    slow, dropped, last = counter.Sleep.remote(500), add(counter, 1), counter.Value.remote()
    ray.cancel(dropped)
    with pytest.raises(TaskCancelledError):
        get(dropped)
    assert get([slow, last]) == [500, 3]


def test_handles_and_names_cross(counters):
    @ray.remote
    def add_in_task(counter, n):
        return get(add(counter, n))

    counter = counters.options(name="till").remote(0)
    assert get(add_in_task.remote(counter, 1)) == 1
    other = counters.remote(100)
    assert get(other.AddTo.remote(counter, 1)) == 2
    assert get(other.AddToFirst.remote([counter], 1)) == 3
    child = get(other.Child.remote(50))
    assert get(add(child, 1)) == 51
    found = ray.get_actor("till")
    assert found == counter
    assert get(add(found, 1)) == 4
    with pytest.raises(ValueError, match="already taken"):
        counters.options(name="till").remote(0)
    assert counters.options(name="till", get_if_exists=True).remote(0) == counter


def test_cpp_calls_actors_of_python(counters):
    @ray.remote
    class Tally:
        def __init__(self):
            self.value = 0

        def add(self, n):
            self.value += n
            return self.value

    counter = counters.remote(0)
    tally = Tally.options(name="tally").remote()
    assert get(counter.AddInPython.remote(tally, 5)) == 5
    assert get(counter.AddToNamed.remote("tally", 5)) == 10
    assert get(counter.AddToNamed.remote("nobody", 5)) == -1
    back = get(counter.PassOn.remote(tally))
    assert back == tally and get(back.add.remote(1)) == 11
    assert get(counter.MakeInPython.remote(20)) == 21
    with pytest.raises(CrossLanguageError, match="RayActorException"):
        get(counter.MakeInPython.remote(-1))


def test_the_last_handle_ends_the_actor_also_when_cpp_had_it(counters):
    keeper = counters.remote(0)
    child = get(keeper.Child.remote(1))
    assert get(child.Value.remote()) == 1
    ref = child.Sleep.remote(100)
    del child
    assert get(ref) == 100
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)


@pytest.mark.parametrize(
    "launch",
    [[], [RAY_MPI, "--num-cpus", "2", "--python", sys.executable],
     [RAY_MPI, "-n", "3", "--num-cpus", "2", "--python", sys.executable]],
    ids=["by itself", "one node", "three ranks"],
)  # fmt: skip
def test_a_cpp_driver_makes_actors_of_python(folder, launch):
    if "-n" in launch and shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    driver = os.path.join(folder, "actor_driver")
    if not os.path.exists(driver):
        compile_cpp(folder, os.path.join(TREE, "tests", "cpp", "programs", "python_actor_driver.cc"), driver)
    environment = {name: value for name, value in os.environ.items() if name != "TEST_PYTHON"}
    if not launch:
        environment["TEST_PYTHON"] = sys.executable
    done = subprocess.run([*launch, driver], cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done
    values, errors = done.stdout.splitlines()[:6], dict(line.split(": ", 1) for line in done.stdout.splitlines()[6:])
    assert values == ["15", "1 2 3 4 5", "107 110", "40 41", "5", "3"], done
    assert errors["method"] == "Python | fail | IndexError | from a Python method"
    assert "which does not convert to int" in errors["type"]
    assert "has no form that other languages read" in errors["form"]
    assert errors["nobody"] == "Python | nobody | AttributeError | 'Tally' object has no attribute 'nobody'"
    assert "Tally.__init__()" in errors["constructor"] and "a negative start" in errors["constructor"]
    assert "No module named 'no_such_module'" in errors["module"]
    assert "exit_actor" in errors["exit"]
    assert "killed" in errors["killed"]
    assert "already taken" in errors["taken"]
