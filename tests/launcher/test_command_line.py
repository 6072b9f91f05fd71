# SPDX-License-Identifier: Apache-2.0
"""Options: what is understood, and what is said about what is not."""

import json
import os
import pathlib
import subprocess

import pytest


def test_help_teaches(ray_mpi):
    done = ray_mpi("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("Usage:", "Examples:", "srun", "--num-cpus", "--object-store-memory", "exit status", "RAY_MPI_NUM_CPUS"):
        assert word in done.stdout
    assert "control-fd" not in done.stdout  # for the Python side only
    assert max(map(len, done.stdout.splitlines())) <= 112


def test_version_and_paths(ray_mpi):
    assert ray_mpi("--version").stdout == "ray-mpi 0.1.0\n"
    path = ray_mpi("--ray-path").stdout.strip()
    with open(f"{path}/ray/__init__.py", encoding="utf-8") as file:
        assert "ray_mpi" in file.read()


@pytest.mark.parametrize(
    "args, said",
    [
        (["--num-cpu", "3", "a.py"], "unknown option '--num-cpu'; did you mean '--num-cpus'?"),
        (["--object-store=1G", "a.py"], "unknown option '--object-store'"),
        (["--frobnicate", "a.py"], "`ray-mpi --help` lists them"),
        (["-x", "a.py"], "unknown option '-x'"),
        (["--num-cpus"], "--num-cpus: its value is missing"),
        (["--num-cpus", "two", "a.py"], "--num-cpus: 'two' is not a number"),
        (["--num-cpus", "-1", "a.py"], "--num-cpus: '-1' is not a number from 0"),
        (["--max-workers", "1.5", "a.py"], "--max-workers: '1.5' is not a whole number"),
        (["--object-store-memory", "1X", "a.py"], "--object-store-memory: '1X' is not a size"),
        (["--object-store-memory", "5", "a.py"], "--object-store-memory: '5' is not between 16777216 and"),
        (["--object-store-memory", "999999G", "a.py"], "--object-store-memory: '999999G' is not between 16777216 and"),
        (["--resources", "{'a': 1}", "a.py"], "--resources:"),
        (["--resources", '{"CPU": 1}', "a.py"], "'CPU' has an option of its own"),
        (["--resources", '{"a": "b"}', "a.py"], "--resources: 'a': \"b\" is not an amount"),
        (["--labels", "novalue", "a.py"], "--labels: 'novalue' is not key=value"),
        (["--log-level", "loud", "a.py"], "--log-level: 'loud' is not one of: trace, debug"),
        (["--transport", "pigeon", "a.py"], "--transport: 'pigeon' is not one of: mpi, direct"),
        (["-n", "0", "a.py"], "--ranks: '0' is not a number from 1"),
        ([], "no program given"),
        (["-m"], "-m: the module's name is missing"),
        (["missing.py"], "missing.py: No such file or directory"),
        (["./"], "is a directory"),
        (["no-such-program"], "there is no program 'no-such-program' on PATH"),
        (["--python", "/no/python", "/dev/null.py"], "--python: there is no /no/python"),
        (["--config", "/no/file", "a.py"], "--config /no/file: cannot be read"),
        (["--bind", "numa", "a.py"], "--bind: 'numa' is not one of: none, core"),
        (["--labels", "zone=a b", "a.py"], "--labels: the value of label 'zone', 'a b', is not"),
        (["--labels", "-zone=a", "a.py"], "--labels: the name of label '-zone' is not"),
        (["--labels", "zone", "a.py"], "--labels: 'zone' is not key=value"),
        (["--log-dir", "/dev/null/logs", "a.py"], "--log-dir: '/dev/null/logs' cannot be written to: Not a directory"),
    ],
)
def test_mistakes_are_named(fake, args, said):
    fake.write("a.py", "")
    done = fake(*args)
    assert said in done.stderr, done.stderr
    assert done.stderr.startswith("ray-mpi: ") and done.stdout == ""
    assert done.returncode == 2


@pytest.mark.parametrize(
    "args, env, said",
    [
        (["--num-gpus=2"], {"CUDA_VISIBLE_DEVICES": "3"}, "is more than the 1 of this node's CUDA_VISIBLE_DEVICES (3)"),
        (["--num-gpus=1.5"], {}, "cannot offer 1.5 of GPU: devices are whole"),
        (["--num-gpus=1000", '--resources={"NPU": 25}'], {}, "devices are whole, and at most 1024 in all"),
        (['--resources={"NPU": 2}'], {"ASCEND_RT_VISIBLE_DEVICES": "7"}, "ASCEND_RT_VISIBLE_DEVICES names 1"),
    ],
)
def test_devices_that_are_not_there(fake, args, env, said):
    fake.environment.pop("CUDA_VISIBLE_DEVICES", None)
    fake.write("a.py", "")
    done = fake(*args, "a.py", env=env)
    assert said in done.stderr and done.returncode == 2, done.stderr


def test_program_without_permission(fake):
    path = fake.write("tool", "#!/bin/sh\n")
    done = fake(path)
    assert done.returncode == 2 and "is not executable" in done.stderr


def test_arguments_after_the_program_are_the_programs(fake):
    done = fake("--num-cpus", "3", "printf", "%s|", "--num-cpus", "4", "--help", "-n", "--", "x y", "")
    assert done.stdout == "--num-cpus|4|--help|-n|--|x y||"


def test_double_dash_ends_the_options(fake):
    assert fake("--", "printf", "%s", "-n").stdout == "-n"


def test_environment_and_file(fake):
    config = fake.write("run.ini", "[node]\nmax-workers = nonsense\n")
    done = fake("--config", config, "true")
    assert done.returncode == 2 and "--max-workers: 'nonsense'" in done.stderr
    assert fake("true", env={"RAY_MPI_CONFIG": config}).returncode == 2
    # The environment wins over the file, the command line over the environment.
    assert fake("true", env={"RAY_MPI_CONFIG": config, "RAY_MPI_MAX_WORKERS": "3"}).returncode == 0
    done = fake("--max-workers", "4", "true", env={"RAY_MPI_MAX_WORKERS": "bad"})
    assert done.returncode == 0, done.stderr
    assert "--max-workers: 'bad'" in fake("true", env={"RAY_MPI_MAX_WORKERS": "bad"}).stderr


def test_mistake_in_the_file(fake):
    config = fake.write("run.ini", "num-cpsu = 3\n")
    done = fake("--config", config, "true")
    assert done.returncode == 2
    assert "run.ini: unknown option '--num-cpsu'; did you mean '--num-cpus'?" in done.stderr


def test_more_cpus_than_granted_is_a_warning(fake):
    done = fake("--num-cpus", "5000", "true")
    assert done.returncode == 0
    assert "--num-cpus 5000 is more than" in done.stderr


def test_folder_of_a_job_without_room_for_logs_is_a_warning(fake):
    # Nobody asked for logs: in a job they are kept unless the output is a terminal.
    done = fake("echo", "ran", env={"SLURM_JOB_ID": "5"}, cwd="/proc")
    assert done.returncode == 0 and done.stdout == "ran\n"
    assert "'ray-mpi-logs/5.batch' cannot be written to: " in done.stderr and "--log-dir" in done.stderr


def test_no_mpirun(ray_mpi):
    done = ray_mpi("-n", "2", ray_mpi.write("a.py", ""), env={"PATH": str(ray_mpi.folder)})
    assert done.returncode == 2
    assert done.stderr == "ray-mpi: -n: there is no mpirun on PATH. Install Open MPI or MPICH, or load its module\n"


def test_no_mpi_library(ray_mpi, mpirun):
    """mpirun is there, and what the ranks need is not: each says so at once, and nobody waits for another."""
    plugin = pathlib.Path(ray_mpi("--ray-path").stdout.strip()).parent / "lib/libray-mpi-mpi.so"
    needed = subprocess.run(["ldd", plugin], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    broken = ray_mpi.write(next(f"lib/{word}" for word in needed if word.startswith("libmpi")), "")
    app = ray_mpi.write("a.py", "import ray\nray.init()\n")
    done = ray_mpi("-n", "2", app, env={"LD_LIBRARY_PATH": os.path.dirname(broken)})
    assert done.returncode == 1
    said = "cannot load the MPI plugin: "
    assert done.stderr.count(said) >= 1 and "load the MPI module that ray-mpi was built with" in done.stderr


def test_session_file(fake):
    done = fake("sh", "-c", "stat -c %a $RAY_MPI_SESSION $RAY_MPI_SESSION/session.json; cat $RAY_MPI_SESSION/session.json")
    modes, _, text = done.stdout.partition("{")
    assert modes.split() == ["700", "600"]
    session = json.loads("{" + text)
    assert session["version"] == "0.1.0" and session["rank"] == 0 and len(session["run_id"]) == 16
    assert session["socket"].startswith("ray-mpi-") and session["keeper_pid"] > 1


def test_spill_ls_of_what_is_none(ray_mpi, tmp_path):
    assert "say `ray-mpi spill ls FILE...`" in ray_mpi("spill").stderr
    (tmp_path / "a").write_bytes(b"something")
    done = ray_mpi("spill", "ls", tmp_path / "a", tmp_path / "b")
    assert done.returncode == 1 and done.stdout == ""
    assert f"{tmp_path}/a is no spill file" in done.stderr and f"{tmp_path}/b: No such file" in done.stderr


def test_doctor(ray_mpi):
    done = ray_mpi("doctor")
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1] == "run"]
    assert "ray-mpi app.py" in line and "python" in done.stdout
    assert done.returncode == 0, done.stdout


def test_a_section_of_ranks(fake):
    config = fake.write("run.ini", "[rank 1,3]\nmax-workers = nonsense\n")
    assert fake("--config", config, "true").returncode == 0, "it is not about rank 0"
    done = fake("--config", config, "true", env={"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"})
    assert done.returncode == 2 and "max-workers" in done.stderr
    done = fake("--config", fake.write("bad.ini", "[rank one]\nnum-cpus = 1\n"), "true")
    assert done.returncode == 2 and "'one' is no list of ranks" in done.stderr
