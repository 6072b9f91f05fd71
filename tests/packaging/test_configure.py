# SPDX-License-Identifier: Apache-2.0
"""What CMake refuses before anything is compiled, and that the reason and the way out are said."""

import re
import stat

import pytest

from conftest import ROOT, run

# An MPI as FindMPI looks for it: a compiler that shows its flags, and a header with what its probes call.
MPICC = """#!/bin/sh
case "$1" in
  -showme:compile) echo -I{folder} ;;
  -showme:link) echo -lm ;;
  *) exit 1 ;;
esac
"""
MPI_H = """
#define MPI_VERSION {standard}
#define MPI_SUBVERSION 0
{says}
static inline int MPI_Init(int *argc, char ***argv) {{ (void)argc; (void)argv; return 0; }}
static inline int MPI_Finalize(void) {{ return 0; }}
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def configure(folder, *options, status=1, **env):
    """Without tests, benchmarks and Python; returns all that CMake said, in one line."""
    off = [f"-DRAY_MPI_BUILD_{part}=OFF" for part in ("TESTS", "BENCH", "PYTHON")]
    done = run("cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja", *off, *options, env=env, status=status)
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_compiler_without_cxx20(tmp_path):
    old = executable(tmp_path / "c++", '#!/bin/sh\nexec g++ $(echo "$@" | sed "s/-std=c++20/-std=c++17/")\n')
    said = configure(tmp_path, f"-DCMAKE_CXX_COMPILER={old}")
    assert f"{old} (GNU " in said and "cannot compile what ray-mpi uses of C++20" in said
    assert "gcc 11 and clang 14 can" in said


@pytest.mark.parametrize("package, version, reason", [
    ("ucx", "1.10.1", "needs UCX 1.12 or newer: UCX 1.10.1 in /no/such has no rendezvous"),
    ("hwloc", "1.11.13", "needs hwloc 2.0 or newer: hwloc 1.11.13 in /no/such"),
])  # fmt: skip
def test_old_library(tmp_path, package, version, reason):
    (tmp_path / f"{package}.pc").write_text(f"prefix=/no/such\nName: {package}\nDescription: old\nVersion: {version}\n")
    said = configure(tmp_path, "-DRAY_MPI_BUILD_MPI=OFF", PKG_CONFIG_PATH=str(tmp_path))
    assert reason in said


@pytest.mark.parametrize("standard, says, reason", [
    (3, "#define OMPI_MAJOR_VERSION 3\n#define OMPI_MINOR_VERSION 1\n#define OMPI_RELEASE_VERSION 6",
     "needs Open MPI 4 or newer: Open MPI 3.1.6 cannot be told to outlive the death of a rank"),
    (2, '#define MPICH_VERSION "1.5"', "needs MPI 3.0 or newer"),
    (3, "", "is neither Open MPI nor MPICH"),
])  # fmt: skip
def test_unfit_mpi(tmp_path, standard, says, reason):
    (tmp_path / "mpi.h").write_text(MPI_H.format(standard=standard, says=says))
    compiler = executable(tmp_path / "mpicc", MPICC.format(folder=tmp_path))
    said = configure(tmp_path, f"-DMPI_C_COMPILER={compiler}", f"-DMPI_CXX_COMPILER={compiler}")
    assert reason in said
    assert "-DRAY_MPI_BUILD_MPI=OFF" in said


def test_old_nanobind(tmp_path):
    (tmp_path / "nanobind-config.cmake").write_text("")
    (tmp_path / "nanobind-config-version.cmake").write_text('set(PACKAGE_VERSION "1.9.2")\n')
    said = configure(tmp_path, "-DRAY_MPI_BUILD_MPI=OFF", "-DRAY_MPI_BUILD_PYTHON=ON", f"-Dnanobind_DIR={tmp_path}")
    assert f"needs nanobind 2.2 or newer; {tmp_path} has 1.9.2" in said


def test_one_node_only(tmp_path):
    """Neither is an error, nor a warning where it is meant."""
    off = [f"-DRAY_MPI_BUILD_{plugin}=OFF" for plugin in ("MPI", "UCX", "HDF5")]
    said = configure(tmp_path, *off, status=0)
    assert all(f"{plugin}: left out" in said for plugin in ("MPI", "UCX", "HDF5")) and "Warning" not in said
    targets = run("cmake", "--build", tmp_path / "build", "--target", "help").stdout
    assert "libray-mpi.so" in targets
    assert not any(f"libray-mpi-{plugin}.so" in targets for plugin in ("mpi", "ucx", "hdf5"))


def test_mpi_that_is_not_there_is_a_warning(tmp_path):
    said = configure(tmp_path, "-DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON", status=0)
    assert "MPI was not found: no launch over several ranks" in said
