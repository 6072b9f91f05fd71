# SPDX-License-Identifier: Apache-2.0
"""The lab itself: four real nodes, a network that can be cut, limits, and nothing left behind."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import HERE, bring_up, take_down


def test_four_nodes_with_names_of_their_own(lab):
    done = lab.run("srun", "-N4", "hostname")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["n0", "n1", "n2", "n3"]


def test_exit_status_is_carried(lab):
    assert lab.run("srun", "-n1", "sh", "-c", "exit 7").returncode == 7


def test_node_local_files_are_not_shared_but_the_shared_folder_is(lab):
    lab.run("srun", "-N1", "-w", "n1", "touch", "/tmp/local", "/dev/shm/local", lab.shared / "common")
    listing = ["ls", "/tmp/local", "/dev/shm/local", lab.shared / "common"]
    assert len(lab.run("srun", "-N1", "-w", "n1", *listing).stdout.split()) == 3
    assert lab.run("srun", "-N1", "-w", "n2", *listing).stdout.split() == [str(lab.shared / "common")]


@pytest.fixture(scope="module")
def mpi_hello(lab):
    if not shutil.which("mpicc"):
        pytest.skip("mpicc is not installed")
    program = lab.shared / "mpi_hello"
    subprocess.run(["mpicc", "-o", program, HERE / "mpi_hello.c"], check=True)
    return program


def test_mpi_over_four_nodes_by_srun(lab, mpi_hello):
    done = lab.run("srun", "--mpi=pmix", "-N4", mpi_hello)
    assert (done.returncode, done.stdout) == (0, "met 4 of 4\n"), done.stderr


def test_mpi_over_four_nodes_by_mpirun(lab, mpi_hello):
    # Inside a batch job, as users do it: mpirun starts its daemons by srun.
    script = f"#!/bin/sh\nmpirun --allow-run-as-root {mpi_hello}\n"
    assert lab.batch(script, "-N4", "--ntasks-per-node=2") == (0, 0, "met 8 of 8\n")


def test_a_cut_node_cannot_be_reached_until_mended(lab):
    connect = ": </dev/tcp/n3/6818"  # to its slurmd
    reachable = lambda: lab.on("n0", "timeout", "0.5", "bash", "-c", connect).returncode == 0
    assert reachable()
    lab.cut("n3")
    assert not reachable()
    lab.mend("n3")
    lab.wait_until(reachable, 10, "n3 answers again")
    assert lab.run("srun", "-N4", "true").returncode == 0


def test_a_restarted_daemon_is_known_at_once(lab):
    daemon = lambda: lab.on("n1", "pgrep", "-x", "-o", "slurmd").stdout.strip()
    before = daemon()
    assert before
    lab.restart("n1")
    lab.wait_until(lambda: daemon() not in ("", before), 10, "a new slurmd on n1")
    lab.wait_until(lambda: lab.run("srun", "-w", "n1", "true").returncode == 0, 20, "n1 takes a step")


def test_memory_limit_kills_what_exceeds_it(lab):
    allocate = ["python3", "-c", "b = bytearray(300 << 20); print(len(b))"]
    lab.limit("n2", memory="200M")
    try:
        assert lab.run("srun", "-w", "n2", *allocate).returncode != 0
    finally:
        lab.limit("n2", memory="3000M")
    assert lab.run("srun", "-w", "n2", *allocate).stdout == f"{300 << 20}\n"


def test_small_tmp_runs_out_of_space(lab):
    fill = ["dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=8"]
    lab.limit("n2", tmp="4m")
    try:
        done = lab.run("srun", "-w", "n2", *fill)
        assert done.returncode != 0 and "No space left" in done.stderr
    finally:
        lab.limit("n2", tmp="2g")
        lab.run("srun", "-w", "n2", "rm", "/tmp/fill")


def traces_of(folder: Path):
    """Everything on this machine that still carries the lab's folder or is in one of its namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and str(folder) in (process / "cmdline").read_text():
                found.append(str(process))
        except OSError:
            pass
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    if folder.exists():
        found.append(str(folder))
    return found


def kernel_names():
    namespaces = subprocess.run(["ip", "netns", "list"], text=True, capture_output=True).stdout.split("\n")
    groups = subprocess.run(["find", "/sys/fs/cgroup", "-maxdepth", "5", "-name", "lab[0-9]*-*"],
                            text=True, capture_output=True).stdout.split()
    return {n.split()[0] for n in namespaces if n} | set(groups)


def test_teardown_leaves_nothing_even_with_jobs_running(lab):
    before = kernel_names()
    second = bring_up("--nodes", "2")
    job = second.start("srun", "-N2", "sleep", "1000")
    second.wait_until(lambda: second.processes("n1", "^.*sleep 1000"), 10, "the job runs on n1")
    assert kernel_names() > before and traces_of(second.folder)
    take_down(second)
    assert job.wait(timeout=5) == -signal.SIGKILL
    job.communicate()
    assert traces_of(second.folder) == []
    assert kernel_names() == before
    take_down(second)  # once more: no harm, no error
    assert lab.run("srun", "-N4", "true").returncode == 0, "the lab beside it must not notice"


def test_a_failed_start_leaves_nothing(lab, tmp_path):
    before = kernel_names()
    folder = tmp_path / "broken"
    # A slurmctld that ends at once, found before the real one.
    (tmp_path / "slurmctld").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "slurmctld").chmod(0o755)
    done = subprocess.run([HERE / "up", "--nodes", "1", "--share", tmp_path, folder], text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1 and "could not be brought up" in done.stderr
    assert traces_of(folder) == []
    assert kernel_names() == before


@pytest.mark.parametrize("tool", ["up", "down", "lab"])
def test_help(tool):
    done = subprocess.run([HERE / tool, "--help"], text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: tests/slurm/{tool}")


@pytest.mark.skipif(os.getuid() != 0, reason="drops root's rights to try the notice")
def test_without_root_there_is_a_notice_and_status_77():
    done = subprocess.run([HERE / "up"], text=True, capture_output=True, user="nobody")
    assert done.returncode == 77 and done.stderr.count("\n") == 1 and "root" in done.stderr
