# SPDX-License-Identifier: Apache-2.0
"""init and shutdown: what they accept, that they can be repeated, and that nothing is left behind."""

import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
import ray
from support import alive, descendants, eventually, get, run_program

pytestmark = pytest.mark.usefixtures("no_runtime")

QUIET = {"log_to_driver": False, "include_dashboard": False}


@ray.remote
def identity(value):
    return value


@ray.remote
def pid():
    return os.getpid()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def shared_memory():
    return set(os.listdir("/dev/shm"))


def test_init_twice_is_an_error():
    ray.init(num_cpus=1, **QUIET)
    with pytest.raises(RuntimeError):
        ray.init(num_cpus=1)
    ray.init(num_cpus=1, ignore_reinit_error=True)
    assert get(identity.remote(1)) == 1


def test_shutdown_twice_is_fine():
    ray.init(num_cpus=1, **QUIET)
    assert ray.is_initialized()
    ray.shutdown()
    assert not ray.is_initialized()
    ray.shutdown()


def test_shutdown_without_init_is_fine():
    ray.shutdown()


def test_unknown_words_are_refused():
    with pytest.raises(RuntimeError, match="cpus"):
        ray.init(cpus=1)
    assert not ray.is_initialized()


def test_local_mode_is_refused():
    with pytest.raises(RuntimeError, match="local_mode"):
        ray.init(local_mode=True)


@pytest.mark.parametrize(
    "options, error",
    [
        ({"num_cpus": -1}, ValueError),
        pytest.param(
            {"num_cpus": "two"},
            (TypeError, ValueError),
            marks=pytest.mark.ours_only("there half a cluster is started first, and stays"),
        ),
        ({"resources": {"CPU": 1}}, (ValueError, AssertionError)),
        ({"namespace": 5}, TypeError),
    ],
    ids=repr,
)
def test_bad_values_are_refused(options, error):
    with pytest.raises(error):
        ray.init(**options, **QUIET)


def test_init_returns_a_context():
    context = ray.init(num_cpus=1, **QUIET)
    assert context.address_info["node_id"] == ray.get_runtime_context().get_node_id()
    assert "session_dir" in context.address_info
    context.disconnect()
    assert not ray.is_initialized()


def test_init_as_a_context_manager():
    with ray.init(num_cpus=1, **QUIET):
        assert get(identity.remote(1)) == 1
    assert not ray.is_initialized()


def test_address_auto_without_a_run(tmp_path):
    result = run_program(
        tmp_path,
        """
        import ray

        try:
            ray.init(address="auto")
        except ConnectionError:
            print("nobody there")
        """,
        env={"RAY_MPI_DIR": str(tmp_path)},  # where no other run of this user is
    )
    assert "nobody there" in result.stdout, result.stderr


def test_address_local_starts_one():
    ray.init(address="local", num_cpus=1, **QUIET)
    assert get(identity.remote(5)) == 5


def test_namespace():
    ray.init(num_cpus=1, namespace="mine", **QUIET)
    assert ray.get_runtime_context().namespace == "mine"


def test_zero_cpus_run_tasks_that_need_none():
    ray.init(num_cpus=0, **QUIET)
    assert get(identity.options(num_cpus=0).remote(3)) == 3
    ref = identity.remote(4)
    assert ray.wait([ref], timeout=0.3) == ([], [ref])


def test_get_after_shutdown():
    ray.init(num_cpus=1, **QUIET)
    ref = identity.remote(1)
    get(ref)
    ray.shutdown()
    ray.init(num_cpus=1, **QUIET)
    with pytest.raises(Exception):
        ray.get(ref, timeout=2)


def test_functions_work_in_the_next_run():
    for i in range(2):
        ray.init(num_cpus=1, **QUIET)
        assert get(identity.remote(i)) == i
        ray.shutdown()


@pytest.mark.ours_only("there a helper process and some descriptors stay, and it takes over a minute")
def test_ten_times_with_nothing_left():
    ray.init(num_cpus=2, **QUIET)
    get(identity.remote(1))
    ray.shutdown()
    files, memory = open_files(), shared_memory()
    started = time.monotonic()
    for i in range(10):
        ray.init(num_cpus=2, **QUIET)
        assert get([identity.remote(i) for _ in range(10)]) == [i] * 10
        get(identity.remote(bytes(1_000_000)))
        ray.shutdown()
    assert eventually(lambda: not descendants(), timeout=20), "processes are left"
    assert shared_memory() <= memory
    assert open_files() <= files
    assert time.monotonic() - started < 30


def test_workers_end_with_shutdown():
    ray.init(num_cpus=2, **QUIET)
    workers = set(get([pid.remote() for _ in range(20)]))
    ray.shutdown()
    assert eventually(lambda: not any(alive(worker) for worker in workers), timeout=20)


def test_workers_end_with_a_busy_program(tmp_path):
    """sys.exit in the driver while tasks run: they end, and the status is the driver's."""
    result = run_program(
        tmp_path,
        """
        import os, sys, time
        import ray

        @ray.remote
        def forever():
            open(f"pid-{os.getpid()}", "w").close()
            while True:
                time.sleep(0.05)

        ray.init(num_cpus=2)
        refs = [forever.remote() for _ in range(2)]
        while sum(name.startswith("pid-") for name in os.listdir(".")) < 2:
            time.sleep(0.02)
        sys.exit(7)
        """,
    )
    assert result.returncode == 7, result.stderr
    workers = [int(path.name[4:]) for path in pathlib.Path(tmp_path).glob("pid-*")]
    assert len(workers) == 2
    assert eventually(lambda: not any(alive(worker) for worker in workers), timeout=20)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="SIGKILL", marks=pytest.mark.ours_only("there most processes survive it")),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
    ],
)
def test_nothing_survives_a_killed_driver(tmp_path, number):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, time, ray\n"
        "@ray.remote\n"
        "def forever():\n"
        "    open(f'pid-{os.getpid()}', 'w').close()\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
        "ray.init(num_cpus=2, include_dashboard=False)\n"
        "refs = [forever.remote() for _ in range(2)]\n"
        "time.sleep(120)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        assert eventually(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
        family = descendants(driver.pid) | {int(path.name[4:]) for path in tmp_path.glob("pid-*")}
        driver.send_signal(number)
        assert driver.wait(60) != 0
    assert eventually(lambda: not any(alive(process) for process in family), timeout=40)


def test_an_error_of_the_program_is_its_status(tmp_path):
    result = run_program(tmp_path, "import ray\nray.init(num_cpus=1)\nraise ValueError('top')\n")
    assert result.returncode == 1
    assert "ValueError: top" in result.stderr


def test_a_program_without_shutdown_ends(tmp_path):
    result = run_program(
        tmp_path,
        """
        import ray

        @ray.remote
        def f():
            return 1

        print(ray.get(f.remote(), timeout=60))
        """,
    )
    assert result.returncode == 0 and "1" in result.stdout


def test_a_program_that_only_imports_starts_nothing(tmp_path):
    result = run_program(
        tmp_path,
        """
        import threading
        import ray
        assert not ray.is_initialized()
        print("threads", threading.active_count())
        """,
    )
    assert result.returncode == 0 and "threads 1" in result.stdout


@pytest.mark.ours_only("looks at our own processes")
def test_a_raylet_without_descriptors_does_not_spin():
    """Clients that it cannot accept wait; they are let in when there is room again."""
    ray.init(num_cpus=1, **QUIET)
    get(identity.remote(1))
    raylet = next(p for p in descendants() if pathlib.Path(f"/proc/{p}/comm").read_text().startswith("ray-mpi-raylet"))
    from ray_mpi import _core
    name = json.loads(pathlib.Path(_core.session(), "session.json").read_text())["socket"]
    open_now = len(os.listdir(f"/proc/{raylet}/fd"))
    limit = resource.prlimit(raylet, resource.RLIMIT_NOFILE, (open_now, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        client.connect("\0" + name)
        used = cpu_seconds(raylet)
        time.sleep(1)
        assert cpu_seconds(raylet) - used < 0.3
        assert get(identity.remote(2)) == 2
        resource.prlimit(raylet, resource.RLIMIT_NOFILE, limit)
        client.send(bytes(280))  # no hello: the connection is closed
        client.settimeout(5)
        assert client.recv(1) == b""
    finally:
        client.close()


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
