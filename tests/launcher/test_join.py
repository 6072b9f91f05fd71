# SPDX-License-Identifier: Apache-2.0
"""`ray-mpi --join`: a further node for a run that is up, found by its run directory or by the file of --listen."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import LIMIT_S, wait_until
from test_serve import join as run_driver
from test_serve import status_of

WAIT_FOR = """
def nodes(count):
    while len([n for n in ray.nodes() if n["Alive"]]) != count:
        time.sleep(0.02)
    return [n for n in ray.nodes() if n["Alive"]]

@ray.remote
def square(values):
    return [v * v for v in values], ray.get_runtime_context().get_node_id()
"""


@pytest.fixture
def add(serve):
    """Starts a node that joins, and waits until it says that it has."""
    return lambda run, *args: serve("--join", run, *args, say="until SIGTERM or its end")


def heads(ray_mpi):
    return [p.parent for p in ray_mpi.run_dirs.glob("*/session.json") if not json.loads(p.read_text())["joined"]]


def test_a_node_joins_and_leaves(ray_mpi, serve, add):
    head = serve("--serve", "--num-cpus", "1")
    node = add("auto", "--num-cpus", "2", "--resources", '{"lamp": 1}')
    out = run_driver(
        ray_mpi,
        WAIT_FOR
        + """
ray.init("auto")
assert ray.get_runtime_context().get_node_id() == nodes(2)[0]["NodeID"]  # the head, though the other is younger
squares, where = ray.get(square.options(resources={"lamp": 1}).remote(range(4)))
print(squares, where == nodes(2)[1]["NodeID"], nodes(2)[1]["Rank"])
""",
    )
    assert out == "[0, 1, 4, 9] True None\n"
    node.send_signal(signal.SIGTERM)
    assert status_of(node) == 0
    assert run_driver(ray_mpi, WAIT_FOR + 'ray.init("auto")\nprint(len(nodes(1)))') == "1\n"
    assert head.poll() is None


def test_a_second_sigterm_is_not_waited_for(ray_mpi, serve, add):
    """The first one lets its task go on, for as long as --drain-timeout says."""
    serve("--serve", "--num-cpus", "1")
    node = add("auto", "--num-cpus", "2", "--drain-timeout", "300")
    out = run_driver(
        ray_mpi,
        """
ray.init("auto")
task = ray.remote(lambda: time.sleep(1000)).options(num_cpus=2, max_retries=0).remote()
for _ in range(2):
    print(len(ray.wait([task], timeout=1)[0]), flush=True)
    os.kill(int(os.environ["NODE"]), signal.SIGTERM)
try:
    ray.get(task, timeout=30)
except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):  # whose word comes first
    print("ended")
""",
        env={"NODE": str(node.pid)},
    )
    assert out == "0\n0\nended\n"
    assert status_of(node) == 0


def test_it_ends_with_the_run(ray_mpi, serve, add):
    head = serve("--serve")
    nodes = [add(str(heads(ray_mpi)[0]), "--num-cpus", "1") for _ in range(2)]
    head.send_signal(signal.SIGTERM)
    assert status_of(head) == 0
    assert [status_of(node) for node in nodes] == [0, 0]


def test_it_sees_the_heads_death(ray_mpi, serve, add):
    head = serve("--serve")
    node = add("auto", "--num-cpus", "1")
    head.send_signal(signal.SIGKILL)
    head.communicate(timeout=LIMIT_S)
    _, text = node.communicate(timeout=LIMIT_S)
    assert node.returncode == 1 and "the run is over" in text


def test_a_killed_node_leaves_nothing(ray_mpi, serve, add):
    serve("--serve", "--num-cpus", "1")
    node = add("auto", "--num-cpus", "2")
    run_driver(ray_mpi, WAIT_FOR + 'ray.init("auto")\nnodes(2)\nray.get(square.options(num_cpus=2).remote([1]))')
    node.kill()
    assert wait_until(lambda: len(list(ray_mpi.run_dirs.iterdir())) == 1)
    assert run_driver(ray_mpi, WAIT_FOR + 'ray.init("auto")\nprint(len(nodes(1)))') == "1\n"


@pytest.mark.usefixtures("mpirun")
def test_nodes_join_an_mpi_run(ray_mpi, add):
    """Two ranks over MPI and two nodes over sockets: tasks, objects and actors go from each to each; one dies."""
    path = ray_mpi.write(
        "app.py",
        "import os, sys, time\nimport numpy as np\nimport ray\n"
        "from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On\n"
        + WAIT_FOR
        + """
@ray.remote
class Keeps:
    def make(self, i):
        return np.full(200_000, i)

@ray.remote
def use(all, objects):
    return [int(ray.get(k.make.remote(3)).sum()) for k in all] + [int(o.sum()) for o in ray.get(objects)]

ray.init()
ids = [n["NodeID"] for n in nodes(2)]
print("two", flush=True)
ids = [n["NodeID"] for n in nodes(4)]
on = [On(i, soft=False) for i in ids]
all = [Keeps.options(scheduling_strategy=s).remote() for s in on]
objects = [k.make.remote(i) for i, k in enumerate(all)]
sums = ray.get([use.options(scheduling_strategy=s).remote(all, objects) for s in on])
assert sums == [[600_000] * 4 + [0, 200_000, 400_000, 600_000]] * 4, sums
print("four", flush=True)
nodes(3)
sums = ray.get([use.options(scheduling_strategy=s).remote(all[:3], objects[:3]) for s in on[:3]])
print("three", flush=True)
sys.exit(5)
""",
    )
    run = ray_mpi.start("-n", "2", "--num-cpus", "2", path, stdin=subprocess.DEVNULL)
    assert run.stdout.readline() == "two\n"
    ranks = {json.loads((p / "session.json").read_text())["rank"]: p for p in heads(ray_mpi) if (p / "session.json").exists()}
    refused = ray_mpi("--join", str(ranks[1]))
    assert refused.returncode == 1 and "rank 1 of the run, where nodes cannot join" in refused.stderr
    stays, dies = add("auto", "--num-cpus", "2"), add(str(ranks[0]), "--num-cpus", "2")
    assert run.stdout.readline() == "four\n"
    dies.kill()
    assert run.stdout.readline() == "three\n"
    assert status_of(run) == 5
    assert status_of(stays) == 0


def test_listen_and_the_secret(ray_mpi, serve, add):
    """By the file of --listen; with a wrong secret, or a file that others could have read, there is no way in."""
    invitation = ray_mpi.folder / "invitation"
    head = serve("--serve", "--num-cpus", "1", "--listen", str(invitation))
    assert wait_until(invitation.exists)
    assert invitation.stat().st_mode & 0o777 == 0o600
    add(str(invitation), "--num-cpus", "2")
    content = json.loads(invitation.read_text())
    wrong = ray_mpi.folder / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text(json.dumps({**content, "secret": "00" * 16}))
    refused = ray_mpi("--join", str(wrong))
    assert refused.returncode == 1 and "the head refused this node" in refused.stderr, refused.stderr
    wrong.write_text(json.dumps(content))
    wrong.chmod(0o644)
    refused = ray_mpi("--join", str(wrong))
    assert refused.returncode == 1 and "must be yours alone" in refused.stderr
    wrong.chmod(0o600)
    wrong.write_text(json.dumps({**content, "version": "0.0.1"}))
    refused = ray_mpi("--join", str(wrong))
    assert refused.returncode == 1 and "is a run of ray-mpi 0.0.1" in refused.stderr
    wrong.write_text(json.dumps({**content, "secret": 7}))
    refused = ray_mpi("--join", str(wrong))
    assert refused.returncode == 1 and "was not written by a run with --listen" in refused.stderr
    wrong.write_text("{}")
    refused = ray_mpi("--join", str(wrong))
    assert refused.returncode == 1 and "was not written by a run with --listen" in refused.stderr
    assert run_driver(ray_mpi, WAIT_FOR + 'ray.init("auto")\nprint(len(nodes(2)))') == "2\n"
    head.send_signal(signal.SIGTERM)
    assert status_of(head) == 0
    assert not invitation.exists()


def test_no_port_is_open_without_listen(ray_mpi, serve, add):
    serve("--serve", "--num-cpus", "1")
    assert _tcp_listeners(ray_mpi) == []
    add("auto", "--num-cpus", "1")
    assert run_driver(ray_mpi, WAIT_FOR + 'ray.init("auto")\nprint(len(nodes(2)))') == "2\n"
    assert {address.partition(":")[0] for address in _tcp_listeners(ray_mpi)} <= {"0100007F"}  # UCX's, on loopback


def _tcp_listeners(ray_mpi):
    inodes = set()
    for pid in ray_mpi.processes():
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(entry))
            except OSError:
                continue
    found = []
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            found.append(words[1])
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused(ray_mpi, serve):
    serve("--serve", "--num-cpus", "1")
    session = json.loads((heads(ray_mpi)[0] / "session.json").read_text())
    # The run directory is closed to others, so nobody else learns the socket's name; this one has guessed it.
    code = f"""
import os, socket, struct
os.setuid(65534)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
s.connect("\\0{session["socket"]}")
try:
    s.send(struct.pack("IIIIQII", 0x524D5049, 1, 0, 0, 0, 1, 0))
    print(len(s.recv(4096)))
except OSError:
    print("closed")
"""
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout.strip() in ("0", "closed"), done


def test_mistakes_are_named(ray_mpi):
    for arguments, text in [
        (["--join", "auto"], "no run of yours has its head on this node"),
        (["--join", "/nowhere"], "cannot open /nowhere"),
        (["--join", "auto", "app.py"], "runs no program"),
        (["--join", "auto", "-n", "2"], "starts no ranks"),
        (["--join"], "value is missing"),
    ]:
        done = ray_mpi(*arguments)
        assert done.returncode in (1, 2) and text in done.stderr, (arguments, done.stderr)
