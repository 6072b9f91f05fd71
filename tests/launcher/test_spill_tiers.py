# SPDX-License-Identifier: Apache-2.0
"""Two folders for spilled objects, the first on a small file system of its own: from there the oldest move on, ahead of
need. In a mount namespace, so that the file system goes with the run."""

import subprocess

import pytest

TEXT = """
import glob, os, subprocess, sys, time
import numpy as np
import ray
ray.init()
small, large, ray_mpi = sys.argv[1:]

def pattern(n):
    return np.random.default_rng(n).integers(0, 256, 2 << 20, dtype=np.uint8)

def files(folder):
    return glob.glob(folder + "/*/*.h5")

def records(folder):
    listed = subprocess.run([ray_mpi, "spill", "ls", *files(folder)], capture_output=True, text=True).stdout if files(folder) else ""
    return {line.split("\\t")[1] for line in listed.splitlines()}

def free_part(folder):
    space = os.statvfs(folder)
    return space.f_bavail / space.f_blocks

def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
"""


def run(ray_mpi, tmp_path, text):
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system takes root")
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    app = ray_mpi.write("app.py", TEXT + text)
    command = [ray_mpi.executable, "--object-store-memory", "16M", "--object-spilling-directory", f"{small},{large}",
               "--system-config", '{"min_spilling_size": 4194304}', app, small, large, ray_mpi.executable]  # fmt: skip
    script = 'mount -t tmpfs -o size=64m none "$0" && "$@" && ls "$0"'
    done = subprocess.run(list(map(str, ["unshare", "-m", "sh", "-c", script, small, *command])), env=ray_mpi.environment,
                          cwd=ray_mpi.folder, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(large.iterdir()) == []
    return done.stdout.split()


def test_the_oldest_move_on_before_the_first_folder_is_full(ray_mpi, tmp_path):
    """90 MiB, with 64 in the first: what was written there first is in the second soon, and all bytes are right."""
    assert run(ray_mpi, tmp_path, """
refs = [ray.put(pattern(0))]
refs += [ray.put(pattern(n)) for n in range(1, 12)]
print(refs[0].hex() in records(small), files(large))
refs += [ray.put(pattern(n)) for n in range(12, 45)]
print(wait_until(lambda: refs[0].hex() in records(large) and refs[0].hex() not in records(small) and free_part(small) >= 0.125))
print(all((ray.get(r) == pattern(n)).all() for n, r in enumerate(refs)))
""") == ["True", "[]", "True", "True"]
