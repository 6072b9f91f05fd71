# SPDX-License-Identifier: Apache-2.0
"""pip: what is in the wheel and in the sdist, and an environment in which one pip command has been run."""

import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

from conftest import ROOT, build_user_project, needed_libraries, run


def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in ("bin/ray-mpi", "bin/ray-mpi-cpp-worker", "lib/libray-mpi.so", "lib/libray-mpi-mpi.so", "include/ray/api.h",
                 "lib/cmake/ray-mpi/ray-mpi-config.cmake", "_ray_path/ray/__init__.py", "__init__.py", "py.typed"):
        assert f"ray_mpi/{part}" in names, part
    assert any(name.endswith(".data/scripts/ray-mpi") for name in names)
    strange = [
        name
        for name in names
        if not name.startswith(("ray_mpi/", "ray_mpi-0.1.0.d")) or "__pycache__" in name or "test" in name
        or not name.endswith((".py", ".so", ".h", ".cmake", "/ray-mpi", "-cpp-worker", "py.typed"))
        and "dist-info" not in name
    ]  # fmt: skip
    assert not strange
    modules = {path.relative_to(ROOT / "bindings/python") for path in (ROOT / "bindings/python/ray_mpi").rglob("*.py")}
    assert {str(path) for path in modules} == {n for n in names if n.endswith(".py") and "_ray_path" not in n}


def test_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
    text = archive.read(name).decode()
    assert "Requires-Python: >=3.9" in text and "Requires-Dist: cloudpickle" in text
    major, minor = sys.version_info[:2]
    assert f"-cp{major}{minor}-cp{major}{minor}-linux_" in wheel.name


def test_python_part_has_no_mpi(fresh):
    (core,) = fresh.glob("lib/python*/site-packages/ray_mpi/_core*.so")
    assert not [name for name in needed_libraries(core) if name.startswith(("libmpi", "libuc", "libopen", "libpmi"))]


@pytest.mark.parametrize("command, said", [((), "1 no mpi"), (("-n", "3"), "3 no mpi")])
def test_fresh_environment(fresh, app, command, said):
    assert run(fresh / "bin/ray-mpi", *command, app, cwd=app.parent).stdout == said + "\n"


def test_without_the_command(fresh, app):
    path = run(fresh / "bin/ray-mpi", "--ray-path").stdout.strip()
    assert run(fresh / "bin/python", app, cwd=app.parent, env={"PYTHONPATH": path}).stdout == "1 no mpi\n"


def test_cmake_prefix(fresh, tmp_path):
    prefix = run(fresh / "bin/ray-mpi", "--cmake-prefix").stdout.strip()
    assert pathlib.Path(prefix).is_relative_to(fresh)
    program = build_user_project(tmp_path, prefix, "g++")
    assert "sum of squares 285" in run(fresh / "bin/ray-mpi", "-n", "2", program).stdout


def test_sdist_is_complete(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    build = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    files = set(subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
    needed = {name for name in files if not name.startswith(".")}
    assert not needed - packed
    assert not [name for name in packed - files if not name.startswith(".") and not (ROOT / name).is_file()]
    assert not [name for name in packed if name.startswith(("build", ".venv"))]
