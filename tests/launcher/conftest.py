# SPDX-License-Identifier: Apache-2.0
"""Runs the command as a shell would, each time in a folder of its own, and looks at what is left behind."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 60
# Everything that has a deadline of a few seconds in the product. On a busy machine a process may wait seconds for a
# CPU; what would never end lasts for minutes in these tests, so this still tells one from the other.
SOON_S = 15

# Under nohup it is ignored, and every program started here would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def first_existing(*candidates):
    for path in candidates:
        if path and pathlib.Path(path).exists():
            return str(path)
    return None


# The installed command of this interpreter, or that of a build tree.
RAY_MPI = first_existing(
    os.environ.get("RAY_MPI_EXE"),
    pathlib.Path(sys.executable).parent / "ray-mpi",
    ROOT / "build/release/python/ray_mpi/bin/ray-mpi",
)
# The folder with the programs of tests/cpp, of the same build.
CPP_PROGRAMS = first_existing(
    RAY_MPI and pathlib.Path(RAY_MPI).resolve().parents[3] / "tests/cpp", ROOT / "build/release/tests/cpp"
)
FAKE = first_existing(os.environ.get("RAY_MPI_FAKE_EXE"), ROOT / "build/release/tests/launcher/ray-mpi-fake-raylet")


class Command:
    """A command, its environment and its private place for run directories."""

    def __init__(self, executable, tmp_path):
        self.executable = executable
        self.folder = tmp_path / "work"
        self.folder.mkdir()
        self.run_dirs = tmp_path / "run"
        self.run_dirs.mkdir()
        self.mark = f"mark-{os.getpid()}-{tmp_path.name}"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_MPI", "RAY_ADDRESS"))}
        self.environment |= {"RAY_MPI_DIR": str(self.run_dirs), "RAY_MPI_TEST_MARK": self.mark}
        self.environment["PYTHONUNBUFFERED"] = "1"

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def start(self, *args, env=None, **kwargs):
        kwargs = {"cwd": self.folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **kwargs}
        return subprocess.Popen([self.executable, *map(str, args)], env={**self.environment, **(env or {})}, **kwargs)

    def __call__(self, *args, env=None, input=None, **kwargs):
        process = self.start(*args, env=env, stdin=subprocess.PIPE, **kwargs)
        try:
            out, err = process.communicate(input or "", timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def processes(self):
        """All living processes that came from this test: they carry its mark in their environment."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if entry.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                if self.mark.encode() in entry.joinpath("environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def nothing_left(self, within_s=SOON_S):
        """True as soon as no process and no run directory is left."""
        return wait_until(lambda: not self.processes() and not list(self.run_dirs.iterdir()), within_s)


def wait_until(condition, within_s=20.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def make(executable, tmp_path, what):
    if executable is None:
        pytest.fail(f"{what} is not built: run tests/run, or set the path in the environment")
    command = Command(executable, tmp_path)
    return command


@pytest.fixture
def fake(tmp_path):
    """ray-mpi with a stand-in raylet (fake_raylet_main.cc)."""
    command = make(FAKE, tmp_path, "ray-mpi-fake-raylet")
    yield command
    assert command.nothing_left(), f"left: {command.processes()} {list(command.run_dirs.iterdir())}"


@pytest.fixture
def ray_mpi(tmp_path):
    """The real command. After each test nothing of it may be left."""
    command = make(RAY_MPI, tmp_path, "ray-mpi")
    yield command
    assert command.nothing_left(), f"left: {command.processes()} {list(command.run_dirs.iterdir())}"


@pytest.fixture
def mpirun():
    if shutil.which("mpirun") is None:
        pytest.fail("no mpirun on PATH: launcher/packages.txt lists what the tests need")


@pytest.fixture
def serve(ray_mpi):
    """Starts a runtime that serves, or (`say`) something else that stays, and waits for the line that says so."""
    started = []

    def start(*args, say="the runtime serves programs that say ray.init"):
        process = ray_mpi.start(*args, stdin=subprocess.DEVNULL)
        started.append(process)
        lines = []
        while not lines or say not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], f"it has ended: {''.join(lines)}"
        return process

    yield start
    for process in reversed(started):
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=LIMIT_S)
