# SPDX-License-Identifier: Apache-2.0
"""Tasks that start MPI programs of their own: what reaches them, what comes back, what is left when they end."""

import json
import os
import subprocess

import pytest

from conftest import ROOT, wait_until

pytestmark = pytest.mark.usefixtures("mpirun")

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}  # the tests' user may be root
RUNS = pytest.mark.parametrize("options", [(), ("-n", "3")], ids=["one-rank", "three-ranks"])

START = """
import json, os, subprocess, sys, time
import ray
ray.init()

def mpirun(*command):
    return subprocess.run(["mpirun", "-n", "2", *command], text=True, capture_output=True, timeout=50)
"""

# What each of the two ranks knows, gathered by the first.
GATHER = """
import json, os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
mine = {"rank": comm.rank, "size": comm.size, "cpus": sorted(os.sched_getaffinity(0)), "argv": sys.argv[1:]}
everything = comm.gather(mine, root=0)
if comm.rank == 0:
    print(json.dumps(everything))
"""


@RUNS
def test_mpirun_in_several_tasks_at_the_same_time(ray_mpi, options):
    ray_mpi.write("gather.py", GATHER)
    path = ray_mpi.write("app.py", START + """
@ray.remote(num_cpus=1)
def run(i):
    done = mpirun(sys.executable, "gather.py", str(i))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), sorted(os.sched_getaffinity(0))

print(json.dumps(ray.get([run.remote(i) for i in range(4)])))
""")
    done = ray_mpi(*options, "--num-cpus", "2", path, env=AS_ROOT)
    assert done.returncode == 0, done.stderr
    for i, (ranks, cpus) in enumerate(json.loads(done.stdout)):
        # Not bound to a core: two tasks' mpiruns would both take the first ones.
        assert ranks == [{"rank": r, "size": 2, "cpus": cpus, "argv": [str(i)]} for r in range(2)]


@RUNS
def test_a_compiled_program_and_its_status(ray_mpi, options):
    hello = ray_mpi.folder / "hello"
    subprocess.run(["mpicc", "-o", hello, ROOT / "tests/slurm/mpi_hello.c"], check=True)
    path = ray_mpi.write("app.py", START + """
@ray.remote
def run(*command):
    done = mpirun(*command)
    return done.returncode, done.stdout.strip()

print(ray.get([run.remote("./hello"), run.remote("sh", "-c", "exit 7")]))
""")
    done = ray_mpi(*options, "--num-cpus", "2", path, env=AS_ROOT)
    assert (done.returncode, done.stdout) == (0, "[(0, 'met 2 of 2'), (7, '')]\n"), done.stderr


@RUNS
def test_mpi4py_in_a_worker_is_one_rank_of_its_own(ray_mpi, options):
    path = ray_mpi.write("app.py", START + """
@ray.remote(num_cpus=1)
def init(i):
    from mpi4py import MPI
    assert MPI.Is_initialized()
    time.sleep(0.2)  # so that others run beside it
    return MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, MPI.COMM_WORLD.allreduce(i)

print(ray.get([init.remote(i) for i in range(4)]))
""")
    done = ray_mpi(*options, "--num-cpus", "2", path, env=AS_ROOT)
    assert (done.returncode, done.stdout) == (0, f"{[(0, 1, i) for i in range(4)]}\n"), done.stderr


@RUNS
def test_python_m_mpi4py_under_mpirun(ray_mpi, options):
    path = ray_mpi.write("app.py", START + """
done = ray.get(ray.remote(mpirun).remote(sys.executable, "-m", "mpi4py.bench", "helloworld"))
print(*sorted(line.split(" on ")[0] for line in done.stdout.splitlines()), sep="\\n")
sys.exit(done.returncode)
""")
    done = ray_mpi(*options, "--num-cpus", "2", path, env=AS_ROOT)
    expected = "".join(f"Hello, World! I am process {r} of 2\n" for r in range(2))
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_places_are_the_nodes_cpus(ray_mpi):
    path = ray_mpi.write("app.py", START + """
done = ray.get(ray.remote(lambda n: subprocess.run(["mpirun", "-n", str(n), "true"]).returncode).remote(6))
sys.exit(done)
""")
    assert ray_mpi("--num-cpus", "6", path, env=AS_ROOT).returncode == 0
    machine = len(os.sched_getaffinity(0))
    more = ray_mpi("--num-cpus", "1", path, env=AS_ROOT)
    assert machine >= 6 or (more.returncode != 0 and "not enough slots" in more.stderr + more.stdout), more


def test_the_users_own_settings_reach_mpirun(ray_mpi):
    path = ray_mpi.write("app.py", START + """
print(ray.get(ray.remote(lambda: os.environ["OMPI_MCA_hwloc_base_binding_policy"]).remote()))
""")
    done = ray_mpi(path, env={"OMPI_MCA_hwloc_base_binding_policy": "core"})
    assert done.stdout == "core\n", done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one-rank", "two-ranks"])
def test_path_of_tasks_is_the_users(ray_mpi, options):
    path = ray_mpi.write("app.py", START + """
print(ray.get(ray.remote(lambda: os.environ["PATH"]).remote()), os.environ["PATH"])
""")
    before = f"{ray_mpi.folder}:{os.environ['PATH']}"
    done = ray_mpi(*options, path, env={"PATH": before})
    assert done.stdout == f"{before} {before}\n", done.stderr


# A task whose mpirun's ranks do not end by themselves. They write their pids once they have met.
FOREVER = START + """
@ray.remote(num_cpus=1, max_retries=0)
def forever():
    return mpirun_forever()

def mpirun_forever():
    code = ("import os, pathlib, time; from mpi4py import MPI; MPI.COMM_WORLD.barrier();"
            "pathlib.Path(f'rank-{os.getpid()}').touch(); time.sleep(600)")
    return subprocess.run(["mpirun", "-n", "2", sys.executable, "-c", code]).returncode

def ranks():
    return [int(name[5:]) for name in os.listdir(".") if name.startswith("rank-")]

ref = forever.remote()
while len(ranks()) < 2: time.sleep(0.02)
"""


def shared_memory():
    return set(os.listdir("/dev/shm"))


@pytest.mark.parametrize("force", [False, True], ids=["cancel", "force"])
def test_cancel_ends_the_ranks_while_the_run_goes_on(ray_mpi, force):
    path = ray_mpi.write("app.py", FOREVER + f"""
ray.cancel(ref, force={force})
try:
    ray.get(ref)
except ray.exceptions.RayError as error:
    print(type(error).__name__)
deadline = time.monotonic() + 20
while any(os.path.exists(f"/proc/{{pid}}") for pid in ranks()):
    assert time.monotonic() < deadline
    time.sleep(0.02)
""")
    done = ray_mpi("--num-cpus", "2", path, env=AS_ROOT)
    assert (done.returncode, done.stdout) == (0, "TaskCancelledError\n"), done.stderr


@RUNS
def test_the_end_of_the_program_ends_the_ranks_and_their_files(ray_mpi, options):
    before = shared_memory()
    done = ray_mpi(*options, "--num-cpus", "2", ray_mpi.write("app.py", FOREVER + "sys.exit(5)\n"), env=AS_ROOT)
    assert done.returncode == 5, done.stderr
    assert not ray_mpi.processes() and not list(ray_mpi.run_dirs.iterdir())
    # Other programs of the machine may have theirs meanwhile; what stays is ours.
    assert wait_until(lambda: not {name for name in shared_memory() - before if "segment" in name}, 30)


def test_a_killed_keeper_leaves_no_ranks(ray_mpi):
    path = ray_mpi.write("app.py", FOREVER + "os.kill(int(os.environ['RAY_MPI_KEEPER_PID']), 9)\ntime.sleep(60)\n")
    ray_mpi("--num-cpus", "2", path, env=AS_ROOT)
    assert ray_mpi.nothing_left(10)


def test_what_a_dead_worker_left_running_ends(ray_mpi):
    """Also a program that does not care about SIGTERM."""
    path = ray_mpi.write("app.py", START + """
@ray.remote(max_retries=0)
def leave():
    subprocess.Popen(["sh", "-c", "trap '' TERM; echo > stubborn-$$; while true; do sleep 0.1; done"])
    while not any(name.startswith("stubborn-") for name in os.listdir(".")): time.sleep(0.02)
    os._exit(1)

try:
    ray.get(leave.remote())
except ray.exceptions.WorkerCrashedError:
    pass
pid = next(name for name in os.listdir(".") if name.startswith("stubborn-")).split("-")[1]
begin = time.monotonic()
while os.path.exists(f"/proc/{pid}"):
    assert time.monotonic() < begin + 20
    time.sleep(0.02)
print(time.monotonic() - begin > 1)
""")
    done = ray_mpi(path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
