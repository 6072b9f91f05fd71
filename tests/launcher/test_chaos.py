# SPDX-License-Identifier: Apache-2.0
"""Chaos on real processes: workers are killed at random each second, and two of three raylets, while chaos_app.py
checks its own answers. RAY_MPI_CHAOS_S=3600 makes a long run of it, RAY_MPI_CHAOS_SEED repeats its choices."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

SECONDS = float(os.environ.get("RAY_MPI_CHAOS_S", 45))
SEED = int(os.environ.get("RAY_MPI_CHAOS_SEED", time.time_ns() % 100_000))


def named(ray_mpi, name):
    found = []
    for pid in ray_mpi.processes():
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
        except OSError:
            pass  # ended meanwhile
    return found


def keeper_of(raylet):
    return int(pathlib.Path(f"/proc/{raylet}/stat").read_text().rpartition(")")[2].split()[1])


def kill_one(pids, choose):
    if not pids:
        return 0
    try:
        os.kill(choose.choice(pids), signal.SIGKILL)
        return 1
    except ProcessLookupError:
        return 0


def test_answers_are_right_while_processes_die(ray_mpi):
    choose = random.Random(SEED)
    app = shutil.copy(pathlib.Path(__file__).parent / "chaos_app.py", ray_mpi.folder)
    process = ray_mpi.start("-n", "4", "--num-cpus", "2", app, str(SECONDS))
    assert process.stdout.readline() == "up\n", process.communicate()
    head = next(int(value) for pid in ray_mpi.processes() if (value := rank_zero_keeper(pid)))
    started = time.monotonic()
    killed = raylets = 0
    while process.poll() is None and time.monotonic() < started + SECONDS:
        time.sleep(choose.uniform(0.5, 1.5))
        killed += kill_one(named(ray_mpi, "ray-mpi-worker"), choose)
        if raylets < 2 and time.monotonic() > started + SECONDS * (raylets + 1) / 3:
            raylets += kill_one([r for r in named(ray_mpi, "ray-mpi-raylet") if keeper_of(r) != head], choose)
    try:
        out, err = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"seed {SEED}: the program hangs after {killed} workers and {raylets} raylets were killed")
    assert process.returncode == 0, f"seed {SEED}: {out}\n{err}"
    result = json.loads(out.splitlines()[-1])
    assert result["alive"] == 4 - raylets and result["rounds"] >= SECONDS / 15, f"seed {SEED}: {result}"
    print(f"seed {SEED}: {killed} workers and {raylets} raylets killed, {result}")


def rank_zero_keeper(pid):
    """The driver's environment names its keeper."""
    try:
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    if b"chaos_app.py" not in command or b"python" not in command.split(b"\0")[0]:
        return None
    return next((v.partition(b"=")[2] for v in environment if v.startswith(b"RAY_MPI_KEEPER_PID=")), None)
