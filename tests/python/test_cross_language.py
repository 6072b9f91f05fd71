# SPDX-License-Identifier: Apache-2.0
"""C++ functions called from Python, and Python functions called by those."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import ray
from ray.exceptions import CrossLanguageError, TaskCancelledError
from support import RAY_MPI, TREE, compile_cpp, get

pytestmark = pytest.mark.ours_only("builds a C++ library")

LIBRARY = """
#include <ray/api.h>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <thread>
using Map = std::map<std::string, std::vector<int>>;
int Plus(int a, int b) { return a + b; }
int Over(int a) { return a; }
std::string Over(std::string a) { return a; }
double Sum(ray::View<double> v) { double s = 0; for (double d : v) s += d; return s; }
std::vector<double> Ones(size_t n) { return std::vector<double>(n, 1.0); }
ray::View<double> Same(ray::View<double> v) { return v; }
Map Extend(Map m) { m["new"] = {7}; return m; }
std::optional<int> Maybe(std::optional<int> x) { return x; }
std::string Text(std::string s) { return s + "!"; }
std::vector<unsigned char> Bytes(std::vector<unsigned char> b) { b.push_back(0); return b; }
uint64_t Large(uint64_t x) { return x; }
void Nothing() {}
int OomScore() { std::ifstream file("/proc/self/oom_score_adj"); int score = 0; file >> score; return score; }
int Throw() { throw std::out_of_range("from C++"); }
int ReadFirst(std::vector<ray::ObjectRef<int>> refs) { return *refs.at(0).Get(); }
std::vector<ray::ObjectRef<int>> MakeRefs() { return {ray::Put(1), ray::Put(2)}; }
int CallPython(int n) { return *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "twice"}).Remote(n)); }
int PythonFails() { return *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "fails"}).Remote()); }
int PythonOdd() { return *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "odd"}).Remote()); }
double PythonArray(size_t n) {
  auto array = ray::Task(ray::PyFunction<std::vector<double>>{"cross_module", "array"}).Remote(std::vector<double>(n, 2.0));
  return array.View()[n - 1];
}
std::string Catch() {
  try { PythonFails(); } catch (const ray::RayTaskException& e) { return e.origin().language + " " + e.origin().type + " " + e.origin().message; }
  return "";
}
int Forever() { return *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "sleep"}).Remote()); }
RAY_REMOTE(Plus, RAY_FUNC(Over, int), RAY_FUNC(Over, std::string), Sum, Ones, Same, Extend, Maybe, Text, Bytes, Large);
RAY_REMOTE(OomScore, Nothing, Throw, ReadFirst, MakeRefs, CallPython, PythonFails, PythonOdd, PythonArray, Catch, Forever);
"""
MODULE = """
import time
import ray
def twice(n): return 2 * n
@ray.remote
def fails(): raise KeyError("from Python")
def odd(): return object()
def yields(): yield 1
def array(a): return a + 1
def sleep(): time.sleep(30); return 1
def count(names): return {name: names.count(name) for name in names}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "cross.cc").write_text(LIBRARY)
    (folder / "cross_module.py").write_text(MODULE)
    compile_cpp(folder, "cross.cc", "cross.so", "-fPIC", "-shared")
    return str(folder)


@pytest.fixture(scope="module")
def driver(library):
    compile_cpp(library, os.path.join(TREE, "tests", "cpp", "programs", "python_driver.cc"), "driver")
    return os.path.join(library, "driver")


@pytest.fixture(scope="module")
def cpp(library):
    ray.init(num_cpus=2, job_config=ray.job_config.JobConfig(code_search_path=[library]))
    yield ray.cross_language.cpp_function
    ray.shutdown()


def test_values_cross(cpp):
    assert get(cpp("Plus").remote(1, 2)) == 3
    assert get(cpp("RAY_FUNC(Over,int)").remote(5)) == 5
    assert get(cpp("RAY_FUNC( Over, std::string )").remote("x")) == "x"
    assert get(cpp("Text").remote("é")) == "é!"
    assert get(cpp("Bytes").remote(b"ab")) == b"ab\0"
    assert get(cpp("Nothing").remote()) is None
    assert get(cpp("Maybe").remote(None)) is None
    assert get(cpp("Maybe").remote(np.int64(4))) == 4
    assert get(cpp("Large").remote(2**64 - 1)) == 2**64 - 1
    assert get(cpp("Extend").remote({"a": (1, 2)})) == {"a": [1, 2], "new": [7]}


def test_workers_are_the_first_to_go_without_memory(cpp):
    assert get(cpp("OomScore").remote()) == 1000


def test_arrays_cross_without_msgpack(cpp):
    assert get(cpp("Sum").remote(np.ones(10))) == 10
    assert get(cpp("Sum").remote(ray.put(np.ones((300, 1000))))) == 300_000
    assert get(cpp("Sum").remote([1, 2.5])) == 3.5
    assert get(cpp("Sum").remote(np.arange(3))) == 3  # other elements: converted
    ones = get(cpp("Ones").remote(100_000))
    assert isinstance(ones, np.ndarray) and ones.sum() == 100_000
    same = get(cpp("Same").remote(np.arange(6.0).reshape(2, 3)))
    assert same.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_objects_of_one_language_are_read_by_the_other(cpp):
    assert get(cpp("Extend").remote(ray.put({"a": [1]}))) == {"a": [1], "new": [7]}
    assert get(cpp("Plus").remote(cpp("Plus").remote(1, 2), ray.put(4))) == 7
    assert get(cpp("ReadFirst").remote([ray.put(9)])) == 9
    assert get(list(get(cpp("MakeRefs").remote()))) == [1, 2]

    @ray.remote
    def python(m):
        return get(cpp("Plus").remote(m["new"][0], 1))

    assert get(python.remote(cpp("Extend").remote({}))) == 8


def test_cpp_calls_python(cpp):
    assert get(cpp("CallPython").remote(21)) == 42
    assert get(cpp("PythonArray").remote(100_000)) == 3.0


def test_errors_cross(cpp):
    with pytest.raises(CrossLanguageError, match="An exception raised from CPP:\n.*Throw.*std::out_of_range: from C") as e:
        get(cpp("Throw").remote())
    assert (e.value.type_name, e.value.message, e.value.function) == ("std::out_of_range", "from C++", "Throw")
    with pytest.raises(CrossLanguageError, match="KeyError.*from Python"):
        get(cpp("PythonFails").remote())
    assert get(cpp("Catch").remote()) == "Python KeyError 'from Python'"
    with pytest.raises(CrossLanguageError, match="object has no form that other languages read"):
        get(cpp("PythonOdd").remote())
    with pytest.raises(CrossLanguageError, match="std::out_of_range"):
        get(cpp("Plus").remote(cpp("Throw").remote(), 1))  # through a dependency


def test_wrong_calls_say_what_is_wrong(cpp):
    with pytest.raises(CrossLanguageError, match="takes 2 arguments, but was called with 1"):
        get(cpp("Plus").remote(1))
    with pytest.raises(CrossLanguageError, match="argument 1 cannot be read: it is text, which does not convert to int"):
        get(cpp("Plus").remote("a", 1))
    with pytest.raises(CrossLanguageError, match="does not fit int"):
        get(cpp("Plus").remote(2**40, 1))
    with pytest.raises(CrossLanguageError, match="no RAY_REMOTE names the function Pluss .* which has: Plus"):
        get(cpp("Pluss").remote(1, 2))
    with pytest.raises(CrossLanguageError, match="pickled Python object"):
        get(cpp("Plus").remote(ray.put({1, 2}), 1))
    with pytest.raises(TypeError, match="has no form that other languages read"):
        cpp("Plus").remote(object(), 1)
    with pytest.raises(OverflowError, match="64 bits"):
        cpp("Plus").remote(2**70, 1)
    with pytest.raises(ValueError, match="100 deep"):
        endless = []
        endless.append((endless,))
        cpp("Plus").remote(endless)
    with pytest.raises(TypeError, match="kwargs"):
        cpp("Plus").remote(a=1)
    with pytest.raises(TypeError, match="cannot be called directly"):
        cpp("Plus")(1, 2)
    for name in ("", 5):
        with pytest.raises(TypeError, match="the name that stands in RAY_REMOTE"):
            cpp(name)


def test_options(cpp):
    assert get(cpp("Plus").options(num_cpus=2, name="two").remote(1, 2)) == 3
    with pytest.raises(ValueError, match="num_returns"):
        cpp("Plus").options(num_returns=2)
    with pytest.raises(ValueError, match="retry_exceptions"):
        cpp("Plus").options(retry_exceptions=[ValueError])

    @ray.remote
    def pickled(f):
        return get(f.remote(1, 1))

    assert get(pickled.remote(cpp("Plus"))) == 2


def test_cancel(cpp):
    ref = cpp("Forever").remote()
    ray.wait([ref], timeout=0.5)
    ray.cancel(ref)
    with pytest.raises(TaskCancelledError):
        get(ref)


@pytest.mark.parametrize(
    "launch",
    [[], [RAY_MPI, "--num-cpus", "2", "--python", sys.executable],
     [RAY_MPI, "-n", "3", "--num-cpus", "2", "--python", sys.executable]],
    ids=["by itself", "one node", "three ranks"],
)
def test_a_cpp_driver_calls_python(driver, launch):
    if "-n" in launch and shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    environment = {name: value for name, value in os.environ.items() if name != "TEST_PYTHON"}
    if not launch:
        environment["TEST_PYTHON"] = sys.executable
    done = subprocess.run(
        [*launch, driver], cwd=os.path.dirname(driver), env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[:5] == ["42 3 abab", "3", "2", "16", "16"]
    errors = dict(line.split(": ", 1) for line in lines[5:])
    assert errors["raises"] == "Python | cross_module.fails | KeyError | 'from Python' | 1"
    assert "the result of the Python function cross_module.twice, cannot be read: it is text" in errors["type"]
    assert "which does not convert to int" in errors["type"]
    assert errors["form"].startswith("Python | cross_module.odd | TypeError | a object has no form that other languages")
    assert errors["generator"].startswith(
        "Python | cross_module.yields | TypeError | cross_module.yields is a generator: only Python can call those"
    )
    assert errors["function"].startswith("Python | cross_module.nobody | AttributeError | module 'cross_module' has no")
    assert errors["module"].startswith("Python | no_such_module.f | ModuleNotFoundError | No module named")
    assert errors["arguments"].startswith("Python | cross_module.twice | TypeError | twice() takes 1 positional")


def test_without_libraries():
    program = """
        import ray
        ray.init(num_cpus=1)
        try:
            ray.cross_language.cpp_function("Plus").remote(1, 2)
        except ValueError as error:
            print(error)
        ray.shutdown()
        for path in (["/nowhere"], "a string"):
            try:
                ray.init(num_cpus=1, job_config=ray.job_config.JobConfig(code_search_path=path))
            except (ValueError, TypeError) as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert "no library to be found in" in done.stdout, done
    assert "there is no /nowhere" in done.stdout
    assert "must be a list of paths" in done.stdout
