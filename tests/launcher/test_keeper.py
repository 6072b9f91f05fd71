# SPDX-License-Identifier: Apache-2.0
"""The keeper, with a stand-in raylet: whoever dies, and whoever does not let go, nothing is left behind."""

import json
import os
import pathlib
import signal
import stat
import time

import pytest

from conftest import SOON_S, wait_until


def session_of(command):
    """The run directory, once it is there."""
    assert wait_until(lambda: list(command.run_dirs.glob("*/session.json")))
    return next(command.run_dirs.iterdir())


def child_named(parent, name):
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            head, _, tail = entry.joinpath("stat").read_text().rpartition(")")
            if head.partition("(")[2] == name and int(tail.split()[1]) == parent:
                return int(entry.name)
        except OSError:
            continue
    return None


def wait_for_child(parent, name):
    assert wait_until(lambda: child_named(parent, name)), name
    return child_named(parent, name)


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_status_is_the_programs(fake, status):
    assert fake("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_status_of_a_signal(fake, number):
    assert fake("sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_streams_and_folder_are_untouched(fake):
    done = fake("sh", "-c", "cat; pwd; echo err >&2", input="from stdin\n")
    assert done.stdout == f"from stdin\n{fake.folder}\n" and done.stderr == "err\n"


def test_open_files_are_handed_on(fake):
    read, write = os.pipe()
    process = fake.start("bash", "-c", f"echo through >&{write}", pass_fds=[write])
    os.close(write)
    assert os.read(read, 100) == b"through\n"
    os.close(read)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_ranks_environment_is_not_inherited(fake):
    rank = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "KEPT": "1"}
    done = fake("env", env=rank)
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert {"KEPT", "SLURM_JOB_ID", "RAY_MPI_SESSION", "RAY_MPI_KEEPER_PID"} <= names
    assert not {"SLURM_PROCID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"} & names


def test_left_over_processes_are_ended(fake):
    started = time.monotonic()
    done = fake("sh", "-c", "sleep 600 & (setsid sleep 600 &) ; exit 3", stdout=None, stderr=None)
    assert done.returncode == 3
    assert not fake.processes()
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_program(fake, number):
    name = number.name[3:]
    process = fake.start("sh", "-c", f"trap 'echo got; exit 9' {name}; echo up; while :; do sleep 0.02; done")
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == ("got\n", 9)


def test_third_interrupt_ends_a_deaf_program(fake):
    process = fake.start("sh", "-c", "trap '' INT; echo up; while :; do sleep 0.02; done")
    assert process.stdout.readline() == "up\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM


def test_warning_signals_do_not_kill(fake):
    process = fake.start("sh", "-c", "echo up; sleep 0.5; exit 4")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=20)
    assert process.returncode == 4


def test_warning_signals_reach_who_wants_them(fake):
    process = fake.start("sh", "-c", "trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.02; done")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == ("got\n", 5)


def test_signals_of_the_step_end_no_helper(ray_mpi):
    """`srun -X` and Slurm's --signal may send them to every process, at any time. Programs of tasks get the defaults."""
    path = ray_mpi.write(
        "app.py",
        """import ray, subprocess
ray.init()
@ray.remote
def ignored():
    return subprocess.run(["grep", "SigIgn", "/proc/self/status"], stdout=subprocess.PIPE).stdout.split()[1]
print(int(ray.get(ignored.remote()), 16))
""",
    )
    process = ray_mpi.start(path)

    def zygote():
        found = (p for p in ray_mpi.processes() if b"_zygote" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes())
        return next(found, None)

    assert wait_until(zygote)
    for pid in (zygote(), wait_for_child(process.pid, "ray-mpi-cleaner"), wait_for_child(process.pid, "ray-mpi-raylet")):
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        assert not int(out) >> (number - 1) & 1


def test_workers_have_no_descriptors_of_others(ray_mpi):
    """Neither the keeper's and raylet's, nor what the program was started with; programs of tasks have stdio alone."""
    path = ray_mpi.write(
        "app.py",
        """import json, os, ray, sys
ray.init()
@ray.remote
def look():
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[int(fd)] = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            pass  # the list's own
    return fds, os.popen("ls /proc/self/fd").read().split()
os.fstat(int(sys.argv[1]))  # the program itself has it
print(json.dumps(ray.get(look.remote())))
""",
    )
    with open(path, encoding="utf-8") as extra:
        os.set_inheritable(extra.fileno(), True)
        process = ray_mpi.start(path, extra.fileno(), pass_fds=[extra.fileno()])
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    fds, of_program = json.loads(out)
    assert of_program == ["0", "1", "2", "3"]  # 3: the list's own
    # Beyond stdio: the connection to the raylet, the eventfd that rings, and Python's sys.stdin.
    kinds = sorted(link.partition(":")[0] for fd, link in fds.items() if int(fd) > 2)
    assert kinds == ["/dev/null", "anon_inode", "socket"], fds


def test_workers_are_the_first_to_go_without_memory(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        """import os, ray
ray.init()
@ray.remote
def score():
    return open("/proc/self/oom_score_adj").read()
print(ray.get(score.remote()), open("/proc/self/oom_score_adj").read())
print(open(f"/proc/{os.environ['RAY_MPI_KEEPER_PID']}/oom_score_adj").read())
import subprocess
raylet = subprocess.run(["pgrep", "-P", os.environ["RAY_MPI_KEEPER_PID"], "-x", "ray-mpi-raylet"], stdout=subprocess.PIPE)
print(open(f"/proc/{int(raylet.stdout)}/oom_score_adj").read())
""",
    )
    done = ray_mpi(path)
    assert done.returncode == 0, done.stderr
    own = pathlib.Path("/proc/self/oom_score_adj").read_text().strip()
    assert done.stdout.split() == ["1000", own, own, own]


def test_death_of_the_keeper(fake):
    process = fake.start("sleep", "600")
    session_of(fake)
    wait_for_child(process.pid, "sleep")
    process.kill()
    process.communicate(timeout=20)
    assert fake.nothing_left()


def test_death_of_the_raylet(fake):
    process = fake.start("sleep", "600")
    session_of(fake)
    wait_for_child(process.pid, "sleep")
    raylet = wait_for_child(process.pid, "ray-mpi-raylet")
    os.kill(raylet, signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"the raylet (pid {raylet}) died unexpectedly: signal 9" in err


def test_death_of_the_raylet_under_a_deaf_program(fake):
    process = fake.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done")
    assert process.stdout.readline() == "up\n"
    os.kill(wait_for_child(process.pid, "ray-mpi-raylet"), signal.SIGKILL)
    started = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert 1.5 < time.monotonic() - started < SOON_S  # it had its 2 s, and no more


def test_raylet_that_does_not_let_go(fake):
    started = time.monotonic()
    done = fake("sh", "-c", "exit 6", env={"FAKE_RAYLET": "stuck"})
    assert done.returncode == 6 and "did not end within 3 s" in done.stderr
    assert time.monotonic() - started < SOON_S


def test_raylet_that_comes_late(fake):
    done = fake("sh", "-c", "exit 6", env={"FAKE_RAYLET": "late"})
    assert done.returncode == 6 and done.stderr == ""


def test_raylet_that_cannot_go_on(fake):
    done = fake("sleep", "600", env={"FAKE_RAYLET": "fatal"})
    assert done.returncode == 3 and done.stderr == "ray-mpi: the fake raylet cannot go on\n"


def test_bring_up_that_takes_too_long(fake):
    started = time.monotonic()
    done = fake("--bringup-timeout", "1", "sleep", "600", env={"FAKE_RAYLET": "mute"})
    assert done.returncode == 1 and "did not come up within 1 s: the raylet (pid " in done.stderr
    assert time.monotonic() - started < SOON_S


def test_run_directory_that_cannot_be_made(fake):
    done = fake("true", env={"RAY_MPI_DIR": "/proc"})
    assert done.returncode == 1
    assert "no place for the run directory: /proc ($RAY_MPI_DIR)" in done.stderr


def test_left_over_run_directory_is_removed(fake):
    dead = fake.run_dirs / f"ray-mpi-{os.getuid()}-local.0.dead"
    dead.mkdir()
    (dead / "session.json").write_text("{}")
    os.utime(dead, (time.time() - 60,) * 2)
    process = fake.start("sleep", "600")
    assert wait_until(lambda: not dead.exists())
    second = fake("true")  # it must not take the running one for a left-over
    assert second.returncode == 0
    folder = session_of(fake)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM


def test_many_children_at_once(fake):
    """A storm of exits (each is reported to the raylet) neither blocks the keeper nor loses one."""
    done = fake("sh", "-c", "for i in $(seq 300); do (sleep 0 &) ; done; exit 8")
    assert done.returncode == 8
