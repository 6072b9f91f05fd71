# SPDX-License-Identifier: Apache-2.0
"""Chaos on real processes: workers are killed at random each second, and two of three raylets, while chaos_app.py
checks its own answers. RAY_MPI_CHAOS_S=3600 makes a long run of it, RAY_MPI_CHAOS_SEED repeats its choices."""

import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import wait_until

pytestmark = pytest.mark.usefixtures("mpirun")

SECONDS = float(os.environ.get("RAY_MPI_CHAOS_S", 120))
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


def memfds(pids):
    """Those of ours that some process has open or mapped: how many of each name."""
    found = set()
    for pid in pids:
        try:
            for entry in os.scandir(f"/proc/{pid}/fd"):
                if (target := os.readlink(entry.path)).startswith("/memfd:ray-mpi-"):
                    found.add((target.split()[0].rpartition("-")[2], os.stat(entry.path).st_ino))
            for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
                fields = line.split()
                if len(fields) > 5 and fields[5].startswith("/memfd:ray-mpi-"):
                    found.add((fields[5].rpartition("-")[2], int(fields[4])))
        except OSError:
            continue  # it ended, or closed that, meanwhile
    return collections.Counter(name for name, _ in found)


def left_of_the_dead(ray_mpi, alive):
    """What should not be there any more while the run goes on with so many nodes; empty if all is well."""
    keepers = {keeper_of(raylet) for raylet in named(ray_mpi, "ray-mpi-raylet")}
    strays = [pid for pid in named(ray_mpi, "ray-mpi-worker") if keeper_of(pid) not in keepers]
    wrong = {"keepers": len(keepers)} if len(keepers) != alive else {}
    if strays:
        wrong["workers"] = strays
    counts = memfds(ray_mpi.processes())
    wrong |= {name: n for name, n in counts.items() if n > alive or name == "command"}
    folders = [path.name for path in ray_mpi.run_dirs.iterdir()]
    if len(folders) > alive + 1:  # and the launcher's
        wrong["folders"] = folders
    return wrong if counts["arena"] == alive else wrong | {"arenas": counts["arena"]}


def test_answers_are_right_while_processes_die(ray_mpi):
    choose = random.Random(SEED)
    app = shutil.copy(pathlib.Path(__file__).parent / "chaos_app.py", ray_mpi.folder)
    looked = ray_mpi.folder / "looked"
    process = ray_mpi.start("-n", "4", "--num-cpus", "2", app, str(SECONDS), looked)
    assert process.stdout.readline() == "up\n", process.communicate()
    head = next(int(value) for pid in ray_mpi.processes() if (value := rank_zero_keeper(pid)))
    started = time.monotonic()
    killed = raylets = 0
    while process.poll() is None and time.monotonic() < started + SECONDS:
        time.sleep(choose.uniform(0.5, 1.5))
        killed += kill_one(named(ray_mpi, "ray-mpi-worker"), choose)
        if raylets < 2 and time.monotonic() > started + SECONDS * (raylets + 1) / 3:
            raylets += kill_one([r for r in named(ray_mpi, "ray-mpi-raylet") if keeper_of(r) != head], choose)
    left = None
    give_up = threading.Timer(240, process.kill)
    give_up.start()
    lines = [process.stdout.readline() for _ in range(2)]  # "over", and what it found
    give_up.cancel()
    if lines[1]:
        wait_until(lambda: not left_of_the_dead(ray_mpi, 4 - raylets))
        left = left_of_the_dead(ray_mpi, 4 - raylets)
    looked.touch()
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"seed {SEED}: the program hangs after {killed} workers and {raylets} raylets were killed")
    assert process.returncode == 0, f"seed {SEED}: {lines} {out}\n{err}"
    result = json.loads(lines[1])
    assert left == {}, f"seed {SEED}: {left} is left of what died"
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
