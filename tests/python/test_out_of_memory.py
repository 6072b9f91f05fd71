# SPDX-License-Identifier: Apache-2.0
"""The memory monitor, in a control group of its own with a limit, as a job has one under Slurm."""

import os
import pathlib

import pytest
from support import run_program

pytestmark = pytest.mark.ours_only("whom it chooses and what it says")
LIMIT_MIB = 900


@pytest.fixture
def group():
    """Makes the limit; gives what puts a process there."""
    root = pathlib.Path("/sys/fs/cgroup")
    version2 = (root / "cgroup.controllers").exists()
    folder = (root if version2 else root / "memory") / f"ray-mpi-test-{os.getpid()}"
    limit = folder / ("memory.max" if version2 else "memory.limit_in_bytes")
    try:
        folder.mkdir()
        limit.write_text(f"{LIMIT_MIB << 20}\n")
    except OSError as error:
        pytest.skip(f"no memory control group can be made: {error}")
    yield lambda: (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    folder.rmdir()


PROGRAM = """
import os, pathlib, sys, time
import ray
from ray.exceptions import OutOfMemoryError

ray.init(num_cpus=3, object_store_memory=100 << 20)
folder = pathlib.Path(__file__).parent

def grow(mib):
    kept = []
    for _ in range(mib // 5):
        kept.append(bytearray(5 << 20))
        time.sleep(0.02)
    return kept
"""


def run(tmp_path, group, text):
    # The kernel would kill at the limit: the monitor has to be before it.
    settings = {"RAY_memory_usage_threshold": "0.75", "RAY_memory_monitor_refresh_ms": "50"}
    done = run_program(tmp_path, PROGRAM + text, env=settings, preexec_fn=group)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_what_cannot_be_retried_fails_with_the_reason(tmp_path, group):
    done = run(tmp_path, group, """
@ray.remote(max_retries=0)
def hog():
    grow(2000)

try:
    ray.get(hog.remote())
except OutOfMemoryError as error:
    print(error)
""")
    for said in ("the memory monitor chose it", f"of {LIMIT_MIB}.0 MiB are in use", "ray-mpi-test-", "'hog'",
                 "RAY_memory_usage_threshold=0.75", "The largest processes here:", "pid "):
        assert said in done.stdout, done.stdout
    assert "is ended, because the memory monitor" in done.stderr


def test_retries_for_want_of_memory_are_free_and_the_newest_retriable_goes_first(tmp_path, group):
    done = run(tmp_path, group, """
@ray.remote(max_retries=0)
def precious():
    kept = grow(200)
    while not (folder / "go").exists():
        time.sleep(0.05)
    return len(kept)

@ray.remote(max_retries=1)
def hog():
    with open(folder / "attempts", "a") as file:
        file.write("x")
    if (folder / "attempts").stat().st_size < 4:
        grow(2000)
    return "done"

first = hog.remote()
while not (folder / "attempts").exists():
    time.sleep(0.01)
second = precious.remote()  # newer, but it could not start again
print(ray.get(first), (folder / "attempts").stat().st_size)
(folder / "go").touch()
print(ray.get(second))
""")
    assert done.stdout.split() == ["done", "4", "40"], done.stderr


def test_an_actor(tmp_path, group):
    done = run(tmp_path, group, """
@ray.remote(max_restarts=1)
class Cache:
    def fill(self, mib):
        self.kept = grow(mib)

    def pid(self):
        return os.getpid()

cache = Cache.remote()
before = ray.get(cache.pid.remote())
try:
    ray.get(cache.fill.remote(2000))
except ray.exceptions.ActorUnavailableError as error:
    print("the memory monitor chose it" in str(error), "actor, 'Cache'" in str(error))
while True:
    try:
        after = ray.get(cache.pid.remote())
        break
    except ray.exceptions.ActorUnavailableError:
        time.sleep(0.1)
print(after != before)
try:
    ray.get(cache.fill.remote(2000))
except OutOfMemoryError as error:
    print("the memory monitor chose it" in str(error))
""")
    assert done.stdout.split() == ["True", "True", "True", "True"], done.stdout + done.stderr
