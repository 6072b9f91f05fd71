# SPDX-License-Identifier: Apache-2.0
"""The fixture `lab`: a real Slurm with four nodes, shared by all tests of this folder."""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SKIPPED = 77


def find_ray_mpi():
    """The command under test: $RAY_MPI_EXE, that of this interpreter, or that of the build tree; None: not built."""
    candidates = [os.environ.get("RAY_MPI_EXE"), Path(sys.executable).parent / "ray-mpi", ROOT / ".venv/bin/ray-mpi",
                  ROOT / "build/release/python/ray_mpi/bin/ray-mpi"]
    return next((str(c) for c in candidates if c and Path(c).exists()), None)


RAY_MPI = find_ray_mpi()


class Lab:
    """A lab that is up. Use it through Slurm's own commands: lab.run("srun", "-N4", "hostname")."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.shared = folder / "shared"  # the lab's parallel file system, the same path on every node
        self.nodes = [n for n in (folder / "names").read_text().split() if n != "ctl"]

    def command(self, *args):
        """The argument vector that runs `args` on the controller's host."""
        return [str(HERE / "lab"), "--folder", str(self.folder), "run", *map(str, args)]

    def _call(self, *args, timeout_s=60, **kwargs):
        kwargs.setdefault("cwd", self.shared)
        return subprocess.run(
            [str(HERE / "lab"), "--folder", str(self.folder), *map(str, args)],
            text=True,
            capture_output=True,
            timeout=timeout_s,
            **kwargs,
        )

    def run(self, *args, **kwargs):
        return self._call("run", *args, **kwargs)

    def start(self, *args, **kwargs):
        """As run(), but does not wait. The caller ends the process."""
        kwargs.setdefault("cwd", self.shared)
        return subprocess.Popen(
            self.command(*args), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs
        )

    def batch(self, script, *options, timeout_s=60):
        """Submits the text of a batch script, waits for its end; returns (exit status, signal, output)."""
        file = self.shared / f"job-{time.monotonic_ns()}"
        file.write_text(script)
        job = self.run("sbatch", "--parsable", "-o", f"{file}.out", *options, file)
        assert job.returncode == 0, job.stderr
        try:
            self.wait_until(lambda: self._job_ended(job.stdout.strip()), timeout_s, f"the end of {script}")
        except AssertionError:
            self.run("scancel", job.stdout.strip())
            raise AssertionError(f"not within {timeout_s} s: {script}\nIt wrote: {Path(f'{file}.out').read_text()}")
        status, signal = self._job_field(job.stdout.strip(), "ExitCode").split(":")
        return int(status), int(signal), Path(f"{file}.out").read_text()

    def _job_ended(self, job):
        return self._job_field(job, "JobState") not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")

    def _job_field(self, job, field):
        shown = self.run("scontrol", "show", "job", job).stdout
        return re.search(rf"\b{field}=(\S+)", shown).group(1)

    def on(self, node, *args, **kwargs):
        return self._call("on", node, *args, **kwargs)

    def cut(self, node):
        self._call("cut", node).check_returncode()

    def mend(self, node):
        self._call("mend", node).check_returncode()

    def restart(self, node):
        self._call("restart", node).check_returncode()

    def give_up(self, node):
        """What Slurm does by itself when a node has not answered its pings for a while (which takes it half a minute
        in the best case): declares it lost."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=cut").check_returncode()

    def revive(self, node):
        """Brings a cut node back. Its daemon is restarted, as after a reboot: one that merely waits to be asked is
        found by the controller's next ping, and one stuck ping delays the next by up to 100 s."""
        self.mend(node)
        self.restart(node)
        self.run("scontrol", "update", f"nodename={node}", "state=resume")  # fails when it is back already
        self.wait_until(self.all_idle, 60, "all nodes are idle again")

    def all_idle(self):
        shown = self.run("sinfo", "-h", "-p", "debug", "-t", "idle", "-o", "%D").stdout.strip()
        return shown == str(len(self.nodes))

    def state(self):
        """What Slurm says about its nodes and jobs, and what runs on the nodes: for messages of failures."""
        parts = [self.run(*command).stdout for command in
                 (("sinfo", "-N", "-o", "%N %T %E"), ("scontrol", "-o", "show", "job"), ("squeue", "-s"))]
        return "\n".join([*parts, *self.left_behind()])

    def limit(self, node, **limits):
        settings = [f"{name}={value}" for name, value in limits.items()]
        done = self._call("limit", node, *settings)
        assert done.returncode == 0, done.stderr

    def processes(self, node, pattern):
        """Pids inside the node whose command line matches `pattern`."""
        return self.on(node, "pgrep", "-f", "--", pattern).stdout.split()

    def left_behind(self):
        """Processes and files on the nodes that do not belong to the lab itself."""
        return [found for node in self.nodes for found in self.left_behind_on(node)]

    def left_behind_on(self, node):
        shown = self.on(node, "ps", "-e", "-o", "pid=,args=").stdout.splitlines()
        # The look itself, the lab's own daemons, and the daemons' helpers that end with a step.
        own = ("host-init", "slurmd", "slurmstepd", "ps -e")
        found = [f"{node}: process {line}" for line in shown if not any(name in line for name in own)]
        listed = self.on(node, "sh", "-c", "ls -d /tmp/* /run/* /dev/shm/* /var/tmp/* 2>/dev/null").stdout.split()
        # Ours, and Open MPI's for what tasks started: session files, shared memory.
        traces = ("ray-mpi-", "ompi.", "vader_segment")
        return found + [f"{node}: {path}" for path in listed
                        if any(name in path for name in traces) and "ray-mpi-lab" not in path]

    def wait_until(self, condition, timeout_s, what):
        """Polls; a lab's tests never sleep for a fixed time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}\n{self.state()}"
            time.sleep(0.02)


def bring_up(*options):
    done = subprocess.run([HERE / "up", *options], text=True, capture_output=True, timeout=60)
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Lab(Path(done.stdout.strip()))


def take_down(lab):
    subprocess.run([HERE / "down", lab.folder], check=True, timeout=60)


@pytest.fixture(scope="session")
def lab():
    # Slurm commands of an outer job must not leak into the lab's own.
    for name in [n for n in os.environ if n.startswith(("SLURM_", "SBATCH_", "SALLOC_"))]:
        del os.environ[name]
    options = []
    command = find_ray_mpi()
    if command and Path(command).parts[1] == "tmp":  # a build tree that nodes could not see
        options = ["--share", str(Path(command).parents[2])]
    lab = bring_up(*options)
    yield lab
    take_down(lab)


@pytest.fixture
def app(lab, request):
    """Writes a Ray program into the lab's shared folder; after the test, nothing new may be on any node."""
    before = set(lab.left_behind())

    def write(text):
        file = lab.shared / f"{request.node.name.replace('[', '-').rstrip(']')}.py"
        file.write_text("import os, signal, subprocess, sys, time\nimport ray\nray.init()\n" + textwrap.dedent(text))
        return file

    yield write
    lab.run("scancel", "--user=root")  # what a failed test may have left running
    deadline = time.monotonic() + 15
    while (rest := set(lab.left_behind()) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not rest, "left behind"


def srun(lab, *args, options=("-N4",), **kwargs):
    return lab.run("srun", *options, RAY_MPI, *args, **kwargs)
