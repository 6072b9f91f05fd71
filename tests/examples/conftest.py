# SPDX-License-Identifier: Apache-2.0
"""The command under test, and the C++ examples built against its installation, once for all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
LIMIT_S = 240


def find_ray_mpi():
    """$RAY_MPI_EXE, else that of this interpreter, else that of the repository's environment or build tree."""
    candidates = [os.environ.get("RAY_MPI_EXE"), Path(sys.executable).parent / "ray-mpi", ROOT / ".venv/bin/ray-mpi",
                  ROOT / "build/release/python/ray_mpi/bin/ray-mpi"]
    found = next((str(c) for c in candidates if c and Path(c).exists()), None)
    return found or pytest.exit("ray-mpi is not built: run tests/run, or name the command with RAY_MPI_EXE", 2)


RAY_MPI = find_ray_mpi()


def run(*command, cwd, status=0, **kwargs):
    """Runs it as a user does, with this Python and the command under test in PATH; returns what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(RAY_MPI).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, **kwargs.pop("env", {})}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL, timeout=LIMIT_S,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
    assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the C++ examples' programs."""
    folder = tmp_path_factory.mktemp("examples")
    prefix = run(RAY_MPI, "--cmake-prefix", cwd=folder).strip()
    run("cmake", "-S", EXAMPLES / "cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}", cwd=folder)
    said = run("cmake", "--build", folder, "--parallel", "2", cwd=folder)
    assert "warning:" not in said, said
    return folder
