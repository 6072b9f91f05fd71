# SPDX-License-Identifier: Apache-2.0
"""C++ programs of a runtime that serves: detached actors outlive the program that made them, and run its code."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from conftest import CPP_PROGRAMS, LIMIT_S, wait_until
from test_mpirun import raylets_of
from test_serve import join, status_of

DRIVER = pathlib.Path(CPP_PROGRAMS or "") / "cpp_joining_driver"
pytestmark = pytest.mark.skipif(not DRIVER.is_file(), reason=f"{DRIVER} is not built")


@pytest.fixture
def say(ray_mpi):
    """Runs a program of its own, of these words; what it prints."""

    def run(*words, driver=DRIVER, status=0):
        how = {"capture_output": True, "text": True, "timeout": LIMIT_S, "check": False}
        done = subprocess.run([driver, *map(str, words)], env=ray_mpi.environment, **how)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.rstrip("\n")

    return run


@pytest.mark.parametrize("code", ["program", "library"])
def test_the_actor_goes_on_without_its_program(ray_mpi, serve, say, code):
    process = serve("--serve", "--num-cpus", "2")
    library = [f"--ray_code_search_path={CPP_PROGRAMS}/libraries/library_one.so"] if code == "library" else []
    assert say("make", "till", 40, *library) == "41 42"
    assert say("find", "till of the job") == "nobody"  # ended with its program
    assert say("add", "other than till", 1) == "41"  # made by the first, and so as long-lived
    assert say("find", "till", "--ray_job_namespace=elsewhere") == "nobody"
    assert say("add", "till", 1) == "42"
    assert say("task", "till") == "53"  # its job's code runs tasks, too
    said = say("die", "till")
    assert "unavailable" in said and said.endswith("\n45")
    assert join(ray_mpi, """
ray.init("auto", namespace="lab")
print(ray.get(ray.get_actor("till").Add.remote(5)))
""") == "50\n"
    assert "is already taken" in say("make", "till", 40, status=7)
    say("kill", "till")
    assert say("find", "till") == "nobody"
    process.terminate()
    assert status_of(process) == 0


def test_python_makes_a_detached_actor_of_cpp(ray_mpi, serve, say):
    serve("--serve", "--num-cpus", "2")
    join(ray_mpi, f"""
ray.init("auto", namespace="lab", job_config=ray.job_config.JobConfig(
    code_search_path=["{CPP_PROGRAMS}/libraries/library_one.so"], default_actor_lifetime="detached"))
actor = ray.cross_language.cpp_actor_class("LibActor::Create", "LibActor").options(name="till").remote(1)
assert ray.get(actor.Add.remote(1)) == 2
""")
    assert say("add", "till", 1) == "3"
    assert say("task", "till") == "14"


def test_a_program_that_is_gone_is_named(ray_mpi, serve, say):
    serve("--serve", "--num-cpus", "2")
    program = ray_mpi.folder / "program"
    shutil.copy(DRIVER, program)
    say("make", "till", 40, driver=program)
    program.unlink()
    assert say("add", "till", 1) == "42"
    assert f"cannot run {program}: No such file or directory" in say("die", "till", status=7)


def test_a_program_that_is_killed_takes_what_is_its_own(ray_mpi, serve, say):
    serve("--serve", "--num-cpus", "2")
    how = {"env": ray_mpi.environment, "stdout": subprocess.PIPE, "text": True}
    program = subprocess.Popen([DRIVER, "stay", "till", "40"], **how)
    assert program.stdout.readline() == "41 42\n"
    assert say("find", "till of the job") == "there"
    program.kill()
    program.communicate(timeout=LIMIT_S)
    assert wait_until(lambda: say("find", "till of the job") == "nobody")
    assert say("add", "till", 1) == "42"


@pytest.mark.usefixtures("mpirun")
def test_three_ranks(ray_mpi, serve, say):
    """Detached actors of C++ outlive their program and their node, and are found from each node."""
    serve("-n", "3", "--num-cpus", "2", "--serve")
    folders = {}
    for path in ray_mpi.run_dirs.glob("ray-mpi-*/session.json"):
        session = json.loads(path.read_text())
        folders[session["keeper_pid"]] = path.parent, session["rank"]
    rank0 = next(folder for folder, rank in folders.values() if rank == 0)

    assert say("make", "till", 40, f"--ray_address={rank0}") == "41 42"
    homes = {}
    for name in ("till", "other than till"):  # they are spread
        pid = say("pid", name, f"--ray_address={rank0}")
        keeper = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        homes[name] = keeper, pid
    name = next(name for name, (keeper, _) in homes.items() if folders[keeper][1] != 0)
    keeper, pid = homes[name]
    other = next(folder for k, (folder, rank) in folders.items() if rank != 0 and k != keeper)
    before = 41 if name == "till" else 40
    assert say("add", name, 1, f"--ray_address={other}") == str(before + 1)
    os.kill(raylets_of(ray_mpi)[keeper], signal.SIGKILL)
    assert say("moved", name, pid, f"--ray_address={other}") == "45"
    assert ray_mpi("stop").returncode == 0
