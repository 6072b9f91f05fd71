# SPDX-License-Identifier: Apache-2.0
"""cmake --install: what is in it, a C++ user's project against it, and Python programs with it."""

import pathlib
import re
import shutil
import sys

import pytest

from conftest import BUILD, ROOT, build_user_project, needed_libraries, python_package, run

SUM = "sum of squares 285 abi "
MODULE_COMMANDS = {
    "Environment Modules": ["/usr/lib/x86_64-linux-gnu/modulecmd.tcl", "/usr/share/Modules/libexec/modulecmd.tcl"],
    "Lmod": ["/usr/share/lmod/lmod/libexec/lmod", "/opt/apps/lmod/lmod/libexec/lmod"],
}


def test_parts(prefix):
    for part in ("bin/ray-mpi", "bin/ray-mpi-cpp-worker", "lib/libray-mpi.so", "lib/libray-mpi-mpi.so", "include/ray/api.h",
                 "lib/cmake/ray-mpi/ray-mpi-config.cmake", "share/ray-mpi/modulefiles/ray-mpi"):
        assert (prefix / part).exists(), part
    assert not (prefix / "ray_mpi").exists()  # the wheel's shape
    headers = {path.relative_to(ROOT / "bindings/cpp/include") for path in (ROOT / "bindings/cpp/include").rglob("*.h")}
    assert headers == {path.relative_to(prefix / "include") for path in (prefix / "include").rglob("*.*")}


def test_only_the_plugin_has_mpi(prefix):
    with_mpi = [
        path.name
        for path in [*prefix.glob("lib/*.so"), *prefix.glob("bin/*")]
        if any(name.startswith(("libmpi", "libucp", "libopen")) for name in needed_libraries(path))
    ]
    assert sorted(with_mpi) == ["libray-mpi-mpi.so", "libray-mpi-ucx.so"]


def test_only_the_plugin_has_hdf5(prefix):
    parts = [*prefix.glob("lib/*.so"), *prefix.glob("bin/*")]
    with_hdf5 = [path.name for path in parts if any(name.startswith("libhdf5") for name in needed_libraries(path))]
    assert with_hdf5 == ["libray-mpi-hdf5.so"]


def test_says_where_it_is(prefix):
    command = prefix / "bin/ray-mpi"
    assert run(command, "--cmake-prefix").stdout == f"{prefix}\n"
    assert run(command, "--ray-path").stdout == f"{python_package(prefix)}/_ray_path\n"
    assert (python_package(prefix) / "bin/ray-mpi").samefile(command)


def test_python_program(prefix, app):
    assert run(prefix / "bin/ray-mpi", "--python", sys.executable, "-n", "2", app).stdout == "2 no mpi\n"


def test_python_that_does_not_fit(prefix, tmp_path):
    """Neither is a traceback from the inside."""
    package = python_package(prefix)
    path = {"PYTHONPATH": str(package.parent)}
    said = run(sys.executable, "-S", "-c", "import ray_mpi", env=path, status=1).stderr  # -S: no site-packages
    assert re.search(rf"ray_mpi in {package} cannot be used by .*: it has no cloudpickle. .*pip install", said)

    other = tmp_path / "ray_mpi"
    shutil.copytree(package, other)
    (core,) = other.glob("_core.*.so")
    core.rename(other / "_core.cpython-307-x86_64-linux-gnu.so")
    said = run(sys.executable, "-c", "import ray_mpi", env={"PYTHONPATH": str(tmp_path)}, status=1).stderr
    assert re.search(rf"ray_mpi in {other} cannot be used by \S+ \(Python 3\.", said)
    assert "it was built for cpython-307-x86_64-linux-gnu. Install" in said


def test_python_program_without_the_command(prefix, app):
    package = python_package(prefix)
    said = run(sys.executable, app, env={"PYTHONPATH": f"{package}/_ray_path:{package.parent}"}).stdout
    assert said == "1 no mpi\n"


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_user_project(prefix, tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    program = build_user_project(tmp_path, prefix, compiler)
    version, abi, executable, mpi = (tmp_path / "said.txt").read_text().splitlines()
    header = (prefix / "include/ray/api/abi.h").read_text()
    assert abi == re.search(r"kVersion = (\d+)", header)[1]
    assert (version, executable) == ("0.1.0", str(prefix / "bin/ray-mpi"))
    assert mpi.startswith(("Open MPI ", "MPICH "))
    env = {"PATH": f"{prefix}/bin:/usr/bin:/bin"}
    assert SUM + abi in run(program, env=env).stdout  # a runtime of its own
    assert SUM + abi in run("ray-mpi", "-n", "2", program, env=env).stdout


def test_manifest_is_complete(tmp_path):
    """What docs/install.md says about uninstalling."""
    folder = tmp_path / "prefix"
    run("cmake", "--install", BUILD, "--prefix", folder)
    run("xargs", "-d", "\\n", "-a", BUILD / "install_manifest.txt", "rm")
    assert not [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def test_other_minor_versions_are_refused(prefix, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(x NONE)\nfind_package(ray-mpi 0.2 REQUIRED)\n"
    )
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefix}", status=1).stderr
    assert re.search(r"requested\s+version\s+\"0.2\"", said) and "version: 0.1.0" in said


def test_moved_prefix(prefix, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(prefix, moved, symlinks=True)
    assert run(moved / "bin/ray-mpi", "--cmake-prefix").stdout == f"{moved}\n"
    assert run(moved / "bin/ray-mpi", "true").returncode == 0


def test_build_tree_is_an_installation_too(tmp_path):
    prefix = run(BUILD / "python/ray_mpi/bin/ray-mpi", "--cmake-prefix").stdout.strip()
    assert SUM in run(build_user_project(tmp_path, prefix, "g++")).stdout


def test_modulefiles_are_filled_in(prefix):
    (folder,) = (prefix / "share/ray-mpi/modulefiles").iterdir()
    says = {"0.1.0": f'set prefix "{prefix}"', "0.1.0.lua": f'local prefix = "{prefix}"'}
    assert {path.name for path in folder.iterdir()} == set(says)
    for path in folder.iterdir():
        text = path.read_text()
        assert says[path.name] in text
        assert str(python_package(prefix).parent.relative_to(prefix)) in text
        assert not re.search("@[A-Z]", text)


@pytest.mark.parametrize("kind", MODULE_COMMANDS)
def test_module_load(prefix, kind):
    """With what is installed here; no machine has both."""
    command = next((path for path in MODULE_COMMANDS[kind] if pathlib.Path(path).exists()), None)
    if command is None:
        pytest.skip(f"no {kind} here")
    load = f'eval "$({command} bash load ray-mpi)" && ray-mpi --cmake-prefix && echo "$CMAKE_PREFIX_PATH $PYTHONPATH"'
    said = run("bash", "-c", load, env={"MODULEPATH": f"{prefix}/share/ray-mpi/modulefiles"}).stdout.split()
    package = python_package(prefix)
    assert said == [str(prefix), str(prefix), f"{package}/_ray_path:{package.parent}"]
