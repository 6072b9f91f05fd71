# SPDX-License-Identifier: Apache-2.0
"""Whole Python programs under the real command: they see what they would see without it, plus a runtime."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import wait_until

TASK = """
import os, ray
ray.init()

@ray.remote
def where(x):
    return x + 1, os.getpid()
"""


def test_a_task(ray_mpi):
    path = ray_mpi.write("app.py", TASK + "print(ray.get(where.remote(41))[0])\n")
    done = ray_mpi(path)
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr


def test_program_sees_itself_as_without_us(ray_mpi):
    text = """
    import json, os, sys
    print(json.dumps([sys.argv, sys.path[0], __name__, __file__, os.getcwd(), sys.executable, sys.stdin.read()]))
    """.replace("\n    ", "\n")
    ray_mpi.write("sub/app.py", text)
    done = ray_mpi("sub/app.py", "-n", "x y", input="words")
    argv, path0, name, file, cwd, executable, read = json.loads(done.stdout)
    assert argv == ["sub/app.py", "-n", "x y"] and name == "__main__" and read == "words"
    assert path0 == str(ray_mpi.folder / "sub") and os.path.samefile(file, ray_mpi.folder / "sub/app.py")
    assert cwd == str(ray_mpi.folder)
    assert os.path.samefile(executable, sys.executable)


def test_module(ray_mpi):
    ray_mpi.write("tool/__main__.py", "import sys\nprint(__package__, sys.argv[1:])\n")
    ray_mpi.write("tool/__init__.py", "")
    assert ray_mpi("-m", "tool", "--help").stdout == "tool ['--help']\n"


def test_users_modules_do_not_disturb_us(ray_mpi):
    """A random.py in the working directory is the program's, not the runtime's."""
    ray_mpi.write("random.py", "raise SystemExit('the wrong random')\n")
    path = ray_mpi.write("sub/app.py", TASK + "print(ray.get(where.remote(1))[0])\n")
    assert ray_mpi(path).stdout == "2\n"


def test_program_without_ray(ray_mpi):
    path = ray_mpi.write("app.py", "print('plain')\n")
    done = ray_mpi(path)
    assert (done.stdout, done.stderr, done.returncode) == ("plain\n", "", 0)


@pytest.mark.parametrize(
    "last_line, status, said",
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit('no good')", 1, "no good"),
        ("import not_there", 1, "ModuleNotFoundError"),
        ("1 +", 1, "SyntaxError"),
        ("ray.get(fail.remote())", 1, "ZeroDivisionError"),
        ("os.kill(os.getpid(), 15)", 143, ""),
        ("os._exit(5)", 5, ""),
    ],
)
def test_status(ray_mpi, last_line, status, said):
    path = ray_mpi.write(
        "app.py",
        "import os, sys, ray\nray.init()\n@ray.remote\ndef fail():\n    return 1 / 0\n" + last_line + "\n",
    )
    done = ray_mpi(path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr


def test_last_words_of_the_program_are_not_lost(ray_mpi):
    path = ray_mpi.write("app.py", TASK + "ray.get(where.remote(1))\nfor i in range(20000): print(i)\n")
    done = ray_mpi(path, env={"PYTHONUNBUFFERED": ""})
    assert done.stdout.splitlines() == [str(i) for i in range(20000)]


def test_ctrl_c(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        TASK + "import time\n"
        "try:\n    print('up', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('cleaning up')\n    raise SystemExit(3)\n",
    )
    process = ray_mpi.start(path)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("cleaning up\n", 3), err


HOLD = (
    TASK
    + "import time\nprint(os.getpid(), ray.get(where.remote(1))[1], os.environ['RAY_MPI_SESSION'], flush=True)\n"
    + "time.sleep(600)\n"
)


def pids_of(ray_mpi, process):
    """name -> pid of the five kinds of processes of a run."""
    driver, worker, session = process.stdout.readline().split()
    pids = {"keeper": process.pid, "driver": int(driver), "worker": int(worker)}
    with open(f"{session}/session.json", encoding="utf-8") as file:
        assert json.load(file)["keeper_pid"] == process.pid
    children = [p for p in ray_mpi.processes() if p not in pids.values()]
    for pid in children:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as comm, open(f"/proc/{pid}/cmdline", "rb") as line:
            if comm.read().startswith("ray-mpi-raylet"):
                pids["raylet"] = pid
            elif b"_zygote" in line.read() and "zygote" not in pids:
                pids["zygote"] = pid
    return pids


@pytest.mark.parametrize(
    "victim, status", [("keeper", -9), ("raylet", 1), ("zygote", 1), ("driver", 137)]
)
def test_death_of_a_part_leaves_nothing(ray_mpi, victim, status):
    process = ray_mpi.start(ray_mpi.write("app.py", HOLD))
    pids = pids_of(ray_mpi, process)
    assert set(pids) >= {"keeper", "raylet", "driver", "worker", "zygote"}
    os.kill(pids[victim], signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == status, err
    assert ray_mpi.nothing_left()


def test_death_of_a_worker_is_survived(ray_mpi):
    path = ray_mpi.write("app.py", TASK + "import signal\n"
                         "pid = ray.get(where.remote(1))[1]\nos.kill(pid, signal.SIGKILL)\n"
                         "print([ray.get(where.remote(i))[0] for i in range(5)])\n")
    done = ray_mpi(path)
    assert (done.stdout, done.returncode) == ("[1, 2, 3, 4, 5]\n", 0), done.stderr


def test_embedded(ray_mpi):
    """`python app.py`: no launcher, and nothing left when the program is gone, however it goes."""
    path = ray_mpi.write("app.py", TASK + "print(ray.get(where.remote(1))[0], flush=True)\nimport sys\n"
                         "if len(sys.argv) > 1: os.kill(os.getpid(), 9)\n")
    ray_path = ray_mpi("--ray-path").stdout.strip()
    search = [ray_path, os.environ.get("PYTHONPATH")]  # the latter leads to a build tree, where nothing is installed
    environment = {**ray_mpi.environment, "PYTHONPATH": os.pathsep.join(filter(None, search))}
    for arguments, status in (([], 0), (["die"], -9)):
        done = subprocess.run([sys.executable, path, *arguments], env=environment, capture_output=True, text=True,
                              timeout=60, check=False)
        assert (done.stdout, done.returncode) == ("2\n", status), done.stderr
        assert ray_mpi.nothing_left()


@pytest.mark.parametrize("shell", [False, True], ids=["interpreter", "shell"])
def test_python_by_way_of_another_program(ray_mpi, shell):
    """`ray-mpi python app.py` and a script that calls python find the same ray as `ray-mpi app.py`."""
    path = ray_mpi.write("app.py", TASK + "print(ray.get(where.remote(1))[0], ray.__file__)\n")
    direct = ray_mpi(path)
    command = ("sh", "-c", f"'{sys.executable}' '{path}'; exit $(($? + 3))") if shell else (sys.executable, path)
    done = ray_mpi(*command)
    assert direct.stdout.startswith("2 ") and direct.returncode == 0, direct.stderr
    assert (done.stdout, done.returncode) == (direct.stdout, 3 if shell else 0), done.stderr
    assert ray_mpi.nothing_left()


def test_starts_fast(ray_mpi):
    """A program that does nothing costs little more than its interpreter. A bare one beside it says how busy the
    machine is."""
    path = ray_mpi.write("app.py", TASK + "print(ray.get(where.remote(1))[0])\n")
    times, bare = [], []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.monotonic() - started)
        started = time.monotonic()
        assert ray_mpi(path).returncode == 0
        times.append(time.monotonic() - started)
    assert min(times) < max(2.0, 40 * min(bare)), (times, bare)


def test_two_runs_side_by_side(ray_mpi):
    first, second = (ray_mpi.start(ray_mpi.write(f"app{i}.py", HOLD)) for i in range(2))
    one, two = (p.stdout.readline().split() for p in (first, second))
    assert one[2] != two[2] and wait_until(lambda: len(list(ray_mpi.run_dirs.iterdir())) == 2)
    first.terminate()
    first.communicate(timeout=20)
    assert os.path.isdir(two[2]) and second.poll() is None
    second.terminate()
    second.communicate(timeout=20)
    assert (first.returncode, second.returncode) == (143, 143)
