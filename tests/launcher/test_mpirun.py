# SPDX-License-Identifier: Apache-2.0
"""`ray-mpi -n N`: mpirun in between, and nobody notices."""

import os
import pathlib
import pty
import re
import signal
import shutil
import subprocess
import time

import pytest

from conftest import SOON_S

pytestmark = pytest.mark.usefixtures("mpirun")

THREE = """
import os, ray
ray.init()
assert len([n for n in ray.nodes() if n["Alive"]]) == 3
"""


def test_three_ranks(ray_mpi):
    path = ray_mpi.write("app.py", THREE + "print(int(ray.cluster_resources()['CPU']))\n")
    done = ray_mpi("-n", "3", "--num-cpus", "2", path)
    assert (done.stdout, done.returncode) == ("6\n", 0), done.stderr


@pytest.mark.parametrize("ending, status", [("raise SystemExit(7)", 7), ("os.kill(os.getpid(), 15)", 143)])
def test_status(ray_mpi, ending, status):
    done = ray_mpi("-n", "3", ray_mpi.write("app.py", THREE + ending + "\n"))
    assert done.returncode == status
    assert "mpirun" not in done.stderr and "MPI_" not in done.stderr, done.stderr


def test_streams_are_ours(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        "import os, sys\nprint(sys.stdin.read(), os.getcwd(), sys.argv[1:])\nprint('err', file=sys.stderr)\n",
    )
    done = ray_mpi("-n", "2", "--num-cpus=1", path, "-n", "3", input="words")
    assert done.stdout == f"words {ray_mpi.folder} ['-n', '3']\n"
    assert done.stderr == "err\n"


def test_path_is_ours(ray_mpi):
    path = ray_mpi.write("app.py", "import os\nprint(os.environ['PATH'])\n")
    assert ray_mpi("-n", "2", "--num-cpus=1", path).stdout == ray_mpi.environment["PATH"] + "\n"


def test_terminal_is_ours(ray_mpi):
    master, slave = pty.openpty()
    path = ray_mpi.write("app.py", "import os\nprint([os.isatty(i) for i in range(3)])\n")
    process = ray_mpi.start("-n", "2", "--num-cpus=1", path, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert process.wait(timeout=60) == 0
    assert b"[True, True, True]" in os.read(master, 4096)
    os.close(master)


def test_ctrl_c(ray_mpi):
    path = ray_mpi.write(
        "app.py",
        "import time\n"
        "try:\n    print('up', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise SystemExit(3)\n",
    )
    process = ray_mpi.start("-n", "2", path)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 3


GPUS = """
import os, time, ray
ray.init()

@ray.remote(num_gpus=1, scheduling_strategy="SPREAD")
def one():
    time.sleep(3)
    return ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"], ray.get_gpu_ids()

total = int(ray.cluster_resources()["GPU"])
seen = ray.get([one.remote() for _ in range(total)])
print(total, len({node for node, _, _ in seen}), len({(node, mask) for node, mask, _ in seen}))
print(sorted(mask for _, mask, _ in seen), all([str(i) for i in ids] == [mask] for _, mask, ids in seen))
"""


def test_devices_of_three_ranks(ray_mpi):
    path = ray_mpi.write("app.py", GPUS)
    ray_mpi.environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = ray_mpi("-n", "3", "--num-cpus=2", "--num-gpus=2", path)
    assert done.stdout == "6 3 6\n['0', '0', '0', '1', '1', '1'] True\n", done.stderr


def test_ranks_of_a_host_divide_its_mask(ray_mpi):
    path = ray_mpi.write("app.py", GPUS)
    mask = {"CUDA_VISIBLE_DEVICES": "GPU-aa,GPU-bb,GPU-cc"}
    done = ray_mpi("-n", "3", "--num-cpus=2", path, env=mask)
    assert done.stdout == "3 3 3\n['GPU-aa', 'GPU-bb', 'GPU-cc'] True\n", done.stderr


BURST = """
import collections, time, ray
ray.init()

@ray.remote(scheduling_strategy="SPREAD")
def where():
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()

for _ in range(4):
    print(sorted(collections.Counter(ray.get([where.remote() for _ in range(6)])).values()))
    time.sleep(0.3)  # what is free again has to reach the head
"""


def test_a_burst_of_spread_tasks_is_even(ray_mpi):
    path = ray_mpi.write("app.py", BURST)
    done = ray_mpi("-n", "3", "--num-cpus=2", path)
    assert done.stdout == "[2, 2, 2]\n" * 4, done.stderr


LAST_WORDS = THREE + """
@ray.remote(scheduling_strategy="SPREAD")
def first(i):
    print("one", i)

@ray.remote(scheduling_strategy="SPREAD")
def second(i):
    print("two", i)

ray.get([task.remote(i) for i in range(60) for task in (first, second)])
"""


def test_the_last_lines_of_all_ranks_come(ray_mpi):
    path = ray_mpi.write("app.py", LAST_WORDS)
    done = ray_mpi("-n", "3", "--num-cpus=1", path, env={"RAY_DEDUP_LOGS": "0"})
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"\((\w+) pid=\d+[^)]*\) (\w+) (\d+)\n", done.stdout)
    assert sorted(lines) == sorted((*names, str(i)) for i in range(60) for names in [("first", "one"), ("second", "two")])


def test_missing_program(ray_mpi):
    done = ray_mpi("-n", "3", "missing.py")
    assert done.returncode == 2
    assert "missing.py: No such file or directory" in done.stderr


def test_rank_inside_a_rank(ray_mpi):
    path = ray_mpi.write("app.py", "")
    done = ray_mpi("-n", "2", path, env={"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"})
    assert done.returncode == 2 and "leave -n away" in done.stderr


def test_wrong_pmi_names_the_line(ray_mpi):
    path = ray_mpi.write("app.py", "")
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0",
             "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "4"}
    done = ray_mpi(path, env=slurm)
    assert done.returncode == 2
    assert "srun --mpi=pmix" in done.stderr


def raylets_of(ray_mpi):
    """keeper -> raylet"""
    found = {}
    for pid in ray_mpi.processes():
        head, _, tail = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        if "(ray-mpi-raylet" in head:
            found[int(tail.split()[1])] = pid
    return found


def listeners_of(pid):
    """The addresses, as /proc/net has them, that a process listens on."""
    found = []
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in links:
                found.append(local.partition(":")[0])
    return found


def test_only_mpi_listens_on_all_addresses(ray_mpi):
    """As docs/slurm.md says: two ports are Open MPI's, everything of ours is bound to the interface of the launch."""
    version = subprocess.run(["mpirun", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if "(Open MPI) 4" not in version:
        pytest.skip("what other MPIs listen on is theirs to say")
    app = ray_mpi.write("app.py", "import ray\nray.init()\nprint('up')\ninput()\n")
    process = ray_mpi.start("-n", "2", app, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    raylets = raylets_of(ray_mpi).values()
    assert len(raylets) == 2
    for raylet in raylets:
        addresses = sorted(listeners_of(raylet))
        assert addresses.count("0" * 8) == 1 and addresses.count("0" * 32) <= 1, addresses
        assert set(addresses) <= {"0" * 8, "0" * 32, "0100007F"}, addresses
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_death_of_another_rank_is_survived(ray_mpi):
    """The raylet of a rank that is not the head dies; the program goes on and its status counts."""
    path = ray_mpi.write(
        "app.py",
        THREE
        + "import sys, time\nprint(os.environ['RAY_MPI_KEEPER_PID'], flush=True)\nsys.stdin.readline()\n"
        + "while sum(n['Alive'] for n in ray.nodes()) > 2: time.sleep(0.05)\n"
        + "f = ray.remote(lambda x: x * 2)\nprint(ray.get([f.remote(i) for i in range(4)]))\nsys.exit(6)\n",
    )
    process = ray_mpi.start("-n", "3", path, stdin=subprocess.PIPE)
    head = int(process.stdout.readline())
    victim = next(raylet for keeper, raylet in raylets_of(ray_mpi).items() if keeper != head)
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate("go\n", timeout=60)
    assert (out, process.returncode) == ("[0, 2, 4, 6]\n", 6), err
    assert f"the raylet (pid {victim}) died unexpectedly: signal 9" in err


def test_death_of_another_rank_is_seen_at_once(ray_mpi):
    """Its connection closes; nobody waits for its heartbeats (4 s)."""
    path = ray_mpi.write(
        "app.py",
        THREE
        + "import time\nprint(os.environ['RAY_MPI_KEEPER_PID'], flush=True)\n"
        + "while sum(n['Alive'] for n in ray.nodes()) > 2: time.sleep(0.005)\nprint(time.time())\n",
    )
    spans = []
    for _ in range(3):  # a busy machine may be slow once, but not each time
        process = ray_mpi.start("-n", "3", path)
        head = int(process.stdout.readline())
        victim = next(raylet for keeper, raylet in raylets_of(ray_mpi).items() if keeper != head)
        killed = time.time()
        os.kill(victim, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        spans.append(float(out) - killed)
        if spans[-1] < 0.5:
            break
    assert min(spans) < 0.5, spans


# What happens to rank 1, in its keeper's shell, while the others are held up.
LOST = {
    "raylet": "( until r=$(pgrep -P $$ -x ray-mpi-raylet); do sleep 0.01; done; kill -9 $r ) &",
    "keeper": "( until r=$(pgrep -P $$ -x ray-mpi-raylet); do sleep 0.01; done; kill -9 $$ ) &",
    "zygote": "( until z=$(pgrep -P $$ -f ray_mpi._zygote); do sleep 0.01; done; kill -9 $z ) &",
}


@pytest.mark.parametrize("victim", LOST)
def test_rank_that_is_lost_at_bring_up_ends_the_run(ray_mpi, victim):
    """Long before the 60 s that the others would wait for it inside of MPI."""
    app = ray_mpi.write("app.py", "import ray\nray.init()\nprint('up')\n")
    ranks = f'if [ "${{OMPI_COMM_WORLD_RANK:-$PMI_RANK}}" = 1 ]; then {LOST[victim]} else sleep 10; fi; exec "$@"\n'
    ray_mpi.write("bin/rank", "#!/bin/bash\n" + ranks)
    # An mpirun that starts its ranks through that script. Open MPI's wants to be called by its bare name, MPICH's looks
    # for its helpers beside the name.
    version = subprocess.run(["mpirun", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    name = "-a mpirun" if "Open MPI" in version else ""
    ray_mpi.write("bin/mpirun", f"""#!/bin/bash
        for word; do
          case $word in */ray-mpi) words+=({ray_mpi.folder}/bin/rank) ;; esac
          words+=("$word")
        done
        exec {name} {shutil.which("mpirun")} "${{words[@]}}"
    """)
    for name in ("rank", "mpirun"):
        os.chmod(ray_mpi.folder / "bin" / name, 0o755)
    done = ray_mpi("-n", "3", app, env={"PATH": f"{ray_mpi.folder}/bin:{ray_mpi.environment['PATH']}"})
    assert done.returncode == 1, done.stderr
    assert "up" not in done.stdout
    if victim == "raylet":
        assert "rank 1 on " in done.stderr and "died unexpectedly: signal 9" in done.stderr
    if victim == "zygote":
        assert "(zygote, pid " in done.stderr and "ended: signal 9" in done.stderr


@pytest.mark.parametrize("victim", ["launcher", "mpirun", "head"])
def test_death_of_a_part_leaves_nothing(ray_mpi, victim):
    path = ray_mpi.write(
        "app.py", THREE + "import time\nprint(os.environ['RAY_MPI_KEEPER_PID'], flush=True)\ntime.sleep(600)\n"
    )
    scratch = ray_mpi.folder / "scratch"  # where an mpirun that is killed would leave its session files
    scratch.mkdir()
    process = ray_mpi.start("-n", "3", path, env={"TMPDIR": str(scratch)})
    head = int(process.stdout.readline())
    mpirun = int(pathlib.Path(f"/proc/{head}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill({"launcher": process.pid, "mpirun": mpirun, "head": head}[victim], signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert ray_mpi.nothing_left(), ray_mpi.processes()
    assert not list(scratch.rglob("*"))
