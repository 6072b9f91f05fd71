# SPDX-License-Identifier: Apache-2.0
"""An installation of each shape, made once from a build tree that is there already: a prefix, a wheel, an sdist."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RAY_MPI_BUILD", ROOT / "build/release"))
LIMIT_S = 240

APP = """
import ray
ray.init()
@ray.remote
def square(x):
    return x * x
assert ray.get([square.remote(ray.put(i)) for i in range(10)]) == [i * i for i in range(10)]
print(len(ray.nodes()), "mpi" if "libmpi" in open("/proc/self/maps").read() else "no mpi")
"""


def clean_environment():
    """As a user's shell has it: nothing that points at this build tree."""
    hidden = ("RAY_", "PYTHONPATH", "CMAKE_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def run(*command, cwd=ROOT, env=None, status=0):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**clean_environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def needed_libraries(path):
    text = run("readelf", "-d", path).stdout
    return [line.partition("[")[2].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line]


def python_package(prefix):
    (package,) = prefix.glob("lib/python3.*/site-packages/ray_mpi")
    return package


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """cmake --install."""
    if not (BUILD / "CMakeCache.txt").exists():
        pytest.fail(f"{BUILD} is not built: run tests/run, or name a build tree with RAY_MPI_BUILD")
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    run(*pip, "--config-settings", f"build-dir={BUILD}", "-w", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def fresh(tmp_path_factory, wheel):
    """A new virtual environment in which one pip command has been run."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", wheel)
    return folder


def build_user_project(folder, prefix, compiler):
    """Configures and builds tests/packaging/user; returns the program."""
    source = pathlib.Path(__file__).parent / "user"
    run("cmake", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_CXX_COMPILER_LAUNCHER=")
    run("cmake", "--build", folder)
    return folder / "squares"
