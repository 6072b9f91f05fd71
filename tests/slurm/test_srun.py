# SPDX-License-Identifier: Apache-2.0
"""ray-mpi in a real Slurm: launches, statuses, signals, and what dies."""

import os
import signal
import subprocess
import time

import pytest

from conftest import RAY_MPI, ROOT, srun

pytestmark = pytest.mark.skipif(not RAY_MPI, reason="ray-mpi is not built (set RAY_MPI_EXE)")


# Tasks that end only when all of them run at the same time: one per node, as each holds the node's only slot.
MEETING = """
    import pathlib
    folder = pathlib.Path(__file__).with_suffix(".met")
    folder.mkdir(exist_ok=True)

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def meet(count):
        (folder / os.uname().nodename).touch()
        while len(list(folder.iterdir())) < count:
            time.sleep(0.01)
        return os.uname().nodename
"""
ONE_SLOT = ("--resources", '{"slot": 1}')


def test_tasks_run_on_every_node(lab, app):
    file = app(MEETING + "    print(*sorted(ray.get([meet.remote(4) for _ in range(4)])))")
    done = srun(lab, *ONE_SLOT, file)
    assert (done.returncode, done.stdout) == (0, "n0 n1 n2 n3\n"), done.stderr


def test_two_ranks_per_node(lab, app):
    file = app("print(len(ray.nodes()), ray.cluster_resources()['slot'])")
    done = srun(lab, *ONE_SLOT, file, options=("-N2", "--ntasks-per-node=2"))
    assert (done.returncode, done.stdout) == (0, "4 4.0\n"), done.stderr


@pytest.mark.parametrize(
    "ending, status",
    [("", 0), ("sys.exit(7)", 7), ("raise ValueError('oops')", 1),
     ("os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
     ("os.kill(os.getpid(), signal.SIGTERM)", 128 + signal.SIGTERM)],
    ids=["end", "exit", "raise", "kill", "term"],
)
def test_the_programs_status_is_sruns(lab, app, ending, status):
    done = srun(lab, app(ending))
    assert done.returncode == status, done.stderr
    assert ("oops" in done.stderr) == ("oops" in ending)


def test_standard_input_and_arguments(lab, app):
    file = app("print(sys.argv[1:], sys.stdin.read().upper())")
    done = srun(lab, file, "--num-cpus", "a b", "*", input="some lines\nof text")
    assert (done.returncode, done.stdout) == (0, "['--num-cpus', 'a b', '*'] SOME LINES\nOF TEXT\n"), done.stderr


def test_working_directory(lab, app):
    assert srun(lab, app("print(os.getcwd())")).stdout.strip() == str(lab.shared)


FOREVER = """
    @ray.remote
    def forever():
        time.sleep(1000)
    refs = [forever.remote() for _ in range(4)]
    child = subprocess.Popen(["sleep", "1000"])
    print("running", flush=True)
    ray.get(refs)
"""


def start_forever(lab, app, *options):
    job = lab.start("srun", "-J", "forever", "-N4", *options, RAY_MPI, app(FOREVER), stdin=subprocess.DEVNULL)
    assert job.stdout.readline() == "running\n", job.stderr.read()
    return job


def test_interrupt_is_the_programs(lab, app):
    # With -X, srun hands the interrupt on to its tasks; Python turns it into a KeyboardInterrupt.
    job = start_forever(lab, app, "-X")
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=20)
    assert job.returncode == 128 + signal.SIGINT, errors
    assert "KeyboardInterrupt" in errors


def test_ctrl_c_twice_ends_everything(lab, app):
    # Without -X, srun kills its tasks, which leaves them no time to remove their run directories: the next run of
    # the same user does it.
    job = start_forever(lab, app)
    begin = time.monotonic()
    while job.poll() is None and time.monotonic() < begin + 20:
        job.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert job.returncode not in (0, None), job.communicate()
    job.communicate()
    lab.wait_until(lambda: not any("process" in found for found in lab.left_behind()), 15, "no process is left")
    for node in lab.nodes:  # the next run spares young directories
        lab.on(node, "sh", "-c", "touch -d '1 minute ago' /tmp/ray-mpi-0-*")
    assert srun(lab, app("")).returncode == 0


def test_scancel_ends_everything(lab, app):
    job = start_forever(lab, app)
    lab.run("scancel", "--name=forever")
    assert job.wait(timeout=20) == 128 + signal.SIGTERM
    _, err = job.communicate()
    assert "zygote" not in err, err  # it had the signal, too, and is not to be blamed
    assert "Traceback" not in err, err  # the program had it twice, from Slurm and from its keeper


def test_the_batch_file_of_the_documentation(lab, app):
    file = app(MEETING + "    print(*sorted(ray.get([meet.remote(4) for _ in range(4)])))\n    sys.exit(3)")
    text = (ROOT / "docs/examples/batch.sbatch").read_text()
    assert text.count("ray-mpi app.py") == 1
    script = text.replace("ray-mpi app.py", f"{RAY_MPI} --resources '{{\"slot\": 1}}' {file}")
    status, signal_number, output = lab.batch(script, "--chdir", lab.shared)
    assert (status, signal_number) == (3, 0)
    assert "n0 n1 n2 n3" in output.splitlines(), output


def test_mpirun_inside_an_allocation(lab, app):
    file = app(MEETING + "    print(*sorted(ray.get([meet.remote(4) for _ in range(4)])))")
    script = f"""#!/bin/sh
        mpirun --allow-run-as-root --map-by ppr:1:node {RAY_MPI} --resources '{{"slot": 1}}' {file}
    """
    status, _, output = lab.batch(script, "-N4", "--ntasks-per-node=1")
    assert (status, output.splitlines()[-1:]) == (0, ["n0 n1 n2 n3"]), output


def test_mpirun_from_the_login_node_is_refused(lab, app):
    """There the program ran on another host: its answer came, but status 1 in the place of its own."""
    done = lab.run("salloc", "-N2", RAY_MPI, "-n", "2", app("print('must not run')"), timeout_s=30)
    assert done.returncode == 2 and "must not run" not in done.stdout
    assert "this host, ctl, is none of the job's nodes (n[0-1])" in done.stderr
    assert "srun --mpi=pmix ray-mpi" in done.stderr


def test_several_jobs_on_the_same_nodes(lab, app):
    file = app("""
        @ray.remote
        def job():
            return os.environ["SLURM_JOB_ID"]
        print(*{os.environ["SLURM_JOB_ID"], *ray.get([job.remote() for _ in range(8)])})
    """)
    jobs = [lab.start("srun", "-N2", "-w", "n0,n1", RAY_MPI, file, stdin=subprocess.DEVNULL) for _ in range(3)]
    outputs = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], outputs
    seen = [out.split() for out, _ in outputs]
    assert all(len(ids) == 1 for ids in seen) and len({ids[0] for ids in seen}) == 3, outputs


def test_wrong_plugin_is_refused_with_the_line_to_use(lab, app):
    done = srun(lab, app("print('must not run')"), options=("-N4", "--mpi=none"))
    assert done.returncode == 2 and "must not run" not in done.stdout
    assert done.stderr.count("srun --mpi=pmix ray-mpi ") == 1, "said once, not by every task"


def test_mpirun_inside_of_srun_is_refused(lab, app):
    done = srun(lab, "-n", "2", app("print('must not run')"), options=("-N2",), timeout_s=30)
    assert done.returncode == 2 and "must not run" not in done.stdout
    assert "srun --mpi=pmix ray-mpi" in done.stderr


def test_environment_of_tasks_is_like_a_batch_scripts(lab, app):
    file = app("""
        @ray.remote
        def environment():
            return dict(os.environ)
        env = ray.get(environment.remote())
        print(env["SLURM_JOB_NODELIST"], env["SLURM_TASKS_PER_NODE"], env["SLURM_OVERLAP"])
        print(env["RAY_MPI_ORIG_SLURM_STEP_NUM_TASKS"], env.get("OMPI_MCA_pml"), env["OMPI_MCA_btl_base_verbose"])
        print([n for n in env if n.startswith(("PMIX_", "SLURM_STEP", "SLURM_PROCID", "OMPI_COMM"))])
    """)
    # A parameter of the user's own, which must arrive.
    done = srun(lab, file, env={**os.environ, "OMPI_MCA_btl_base_verbose": "0"})
    assert done.stdout.splitlines() == ["n[0-3] 1(x4) 1", "4 None 0", "[]"], done.stderr


def test_doctor_inside_a_step(lab):
    done = lab.run("srun", "-N2", "-l", RAY_MPI, "doctor", timeout_s=30)
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in "01":
        mine = [line for line in done.stdout.splitlines() if line.startswith(f"{rank}: ")]
        assert any("Open MPI" in line for line in mine)
        assert any(f"rank {rank} of 2, started by srun" in line for line in mine)
        assert any("control group limit 3000 MiB" in line for line in mine)


# One task per node; all wait for the test, so that it can do harm while each of them runs.
HARM = """
    import pathlib
    folder = pathlib.Path(__file__).with_suffix(".met")
    folder.mkdir()

    @ray.remote(num_cpus=0, resources={"slot": 1}, max_retries=-1)
    def wait():
        (folder / os.uname().nodename).touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        return os.uname().nodename

    nodes = ray.get([wait.remote() for _ in range(4)])
    print(len(nodes), "n2" in nodes)
    (folder / "over").touch()
    sys.exit(7)
"""


def run_with_harm(lab, app, harm, timeout_s, after=lambda: None):
    """Runs HARM, calls harm() while a task runs on each node, and expects the program to end as if nothing were.
    Calls after() when it has ended and srun may wait for more."""
    file = app(HARM)
    met = file.with_suffix(".met")
    job = lab.start("srun", "-N4", "--no-kill", "-K0", RAY_MPI, *ONE_SLOT, file, stdin=subprocess.DEVNULL)
    lab.wait_until(lambda: met.is_dir() and len(list(met.iterdir())) == 4, 30, "a task on each node")
    harm()
    (met / "go").touch()
    lab.wait_until(lambda: (met / "over").exists(), timeout_s, "the end of the program")
    after()
    output, errors = job.communicate(timeout=timeout_s)
    assert (job.returncode, output) == (7, "4 False\n"), errors
    return errors


def kill_raylet(lab, node):
    raylet = lab.on(node, "pgrep", "raylet").stdout.split()
    assert len(raylet) == 1
    lab.on(node, "kill", "-9", *raylet).check_returncode()
    lab.wait_until(lambda: not lab.on(node, "pgrep", "raylet").stdout, 20, "the raylet is gone")


def test_a_killed_raylet_costs_its_node_only(lab, app):
    errors = run_with_harm(lab, app, lambda: kill_raylet(lab, "n2"), 30)
    assert "on n2: the raylet" in errors and "signal 9" in errors


def test_a_killed_raylet_is_seen_at_once(lab, app):
    """Its connection closes; nobody waits for its heartbeats (4 s)."""
    file = app("""
        import pathlib
        mark = pathlib.Path(__file__).with_suffix(".up")
        mark.touch()
        while sum(n["Alive"] for n in ray.nodes()) > 3: time.sleep(0.005)
        print(time.time())
    """)
    job = lab.start("srun", "-N4", "--no-kill", "-K0", RAY_MPI, file, stdin=subprocess.DEVNULL)
    lab.wait_until(file.with_suffix(".up").exists, 30, "the program runs")
    raylet = lab.on("n2", "pgrep", "raylet").stdout.split()
    killed = time.time()
    lab.on("n2", "kill", "-9", *raylet).check_returncode()
    output, errors = job.communicate(timeout=30)
    assert job.returncode == 0, errors
    assert float(output) - killed < 1, errors  # `lab on` takes some of it


LOST = {  # what happens to rank 2, and what the others do before they come
    "raylet": ("( until r=$(pgrep -P $$ -x ray-mpi-raylet); do sleep 0.01; done; kill -9 $r ) &", "sleep 10"),
    "keeper": ("( until r=$(pgrep -P $$ -x ray-mpi-raylet); do sleep 0.01; done; kill -9 $$ ) &", "sleep 10"),
    "never": ("sleep 1000", ":"),
}


@pytest.mark.parametrize("victim", LOST)
def test_rank_that_does_not_come_up(lab, app, victim):
    """Lost while the others wait for it inside of MPI: the run ends at once, or after --bringup-timeout."""
    file = app("print('up')")
    wrapper = file.with_suffix(".sh")
    wrapper.write_text(f'#!/bin/bash\nif [ $SLURM_PROCID = 2 ]; then {LOST[victim][0]}\nelse {LOST[victim][1]}; fi\n'
                       f'exec {RAY_MPI} --bringup-timeout {3 if victim == "never" else 60} "$@"\n')
    wrapper.chmod(0o755)
    started = time.monotonic()
    job = lab.start("srun", "-J", "lost", "-N4", "--no-kill", "-K0", wrapper, file, stdin=subprocess.DEVNULL)
    output, errors = job.communicate(timeout=40)
    assert time.monotonic() - started < 25, errors
    assert job.returncode != 0 and "up" not in output.split(), errors
    if victim == "never":
        said = {line.split(":")[1].strip() for line in errors.splitlines() if line.startswith("ray-mpi: ")}
        assert said == {"rank 0 on n0", "rank 1 on n1", "rank 3 on n3"}, errors
        assert "did not come up within 3 s" in errors and "the one that says nothing never came" in errors
    if victim == "raylet":
        assert "rank 2 on n2: the raylet" in errors and "died unexpectedly: signal 9" in errors


def test_a_lost_node_costs_its_tasks_only(lab, app):
    def harm():
        lab.cut("n2")
        # It fences itself: nothing of ours goes on there once the head may start its work elsewhere. (Documented:
        # 2 s of silence, and at most 3 s more for the rest.)
        lab.wait_until(lambda: not lab.left_behind_on("n2"), 10, "the cut node has ended its part of the run")

    try:
        # srun ends only when Slurm has given the node up.
        errors = run_with_harm(lab, app, harm, 30, after=lambda: lab.give_up("n2"))
    finally:
        lab.revive("n2")
    assert "Node failure on n2" in errors
