# SPDX-License-Identifier: Apache-2.0
"""What tasks print reaches the driver, with the task's name and process in front."""

import os
import re
import subprocess
import sys
import textwrap
import time

import pytest
from support import eventually, run_program

PROGRAM = """
import os, sys, time
import ray

@ray.remote
def speak(text):
    print(text)
    return os.getpid()

@ray.remote
def complain():
    print("to stderr", file=sys.stderr)

@ray.remote
def lines():
    print("one\\ntwo")
    sys.stdout.write("no newline")

ray.init(num_cpus=1, {options})
pid = ray.get(speak.remote("hello there"), timeout=60)
ray.get(speak.options(name="other").remote("with a name"), timeout=60)
ray.get(complain.remote(), timeout=60)
ray.get(lines.remote(), timeout=60)
sys.stdout.write("PID %d\\n" % pid)  # at once: lines of tasks come in between
time.sleep(1.5)
ray.shutdown()
"""


def plain(text):
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_prints_reach_the_driver(tmp_path):
    result = run_program(tmp_path, PROGRAM.format(options=""))
    assert result.returncode == 0, result.stderr
    out, err = plain(result.stdout), plain(result.stderr)
    pid = re.search(r"PID (\d+)", out).group(1)
    assert f"(speak pid={pid})" in out + err
    assert re.search(rf"\(speak pid={pid}\S*\) hello there", out)
    assert re.search(r"\(\w+ pid=\d+\S*\) with a name", out)
    assert re.search(r"\(\w+ pid=\d+\S*\) one", out)
    assert re.search(r"\(\w+ pid=\d+\S*\) two", out)
    assert "to stderr" in err


def test_log_to_driver_false_keeps_quiet(tmp_path):
    result = run_program(tmp_path, PROGRAM.format(options="log_to_driver=False"))
    assert result.returncode == 0, result.stderr
    assert "hello there" not in result.stdout + result.stderr


def test_many_lines_all_arrive(tmp_path):
    result = run_program(
        tmp_path,
        """
        import time
        import ray

        @ray.remote
        def chatter():
            for i in range(500):
                print("line", i)

        ray.init(num_cpus=1)
        ray.get(chatter.remote(), timeout=60)
        time.sleep(2)
        ray.shutdown()
        """,
    )
    seen = {int(number) for number in re.findall(r"line (\d+)", plain(result.stdout))}
    assert seen == set(range(500))


@pytest.mark.ours_only("there the words are others")
def test_folded_lines_say_how_to_see_them_all(tmp_path):
    """Tasks that print their results print lines that differ only in numbers: who misses them is told, once."""
    program = """
        import ray

        @ray.remote
        def say(i, everybody):
            for word in ("result", "error"):
                print(word, i)
            open(str(i), "w").close()
            import os, time
            while len(os.listdir(".")) < everybody:  # each in a worker of its own
                time.sleep(0.01)

        import os
        ray.init(num_cpus=3)
        ray.get([say.remote(i, len(os.listdir(".")) + 3) for i in range(3)], timeout=60)
        """
    for env, lines in [({}, 4), ({"RAY_DEDUP_LOGS": "0"}, 6)]:
        folder = tmp_path / str(lines)
        folder.mkdir()
        result = run_program(folder, program, env=env)
        assert result.returncode == 0, result.stderr
        out = plain(result.stdout)
        assert len(re.findall(r"(?:result|error) \d", out)) == lines, out
        assert out.count("[repeated 2x across cluster]") == (2 if lines == 4 else 0), out
        assert out.count("RAY_DEDUP_LOGS=0 shows all") == (1 if lines == 4 else 0), out


LAST_WORDS = """
import os, signal, subprocess, sys
import ray

@ray.remote
def first(i):
    print("line", i)

@ray.remote
def second(i):
    print("line", i, file=sys.stderr)
    sys.stdout.write(f"open end {i}")

ray.init(num_cpus=1)
ray.get(first.remote(0), timeout=60)
HOLD
ray.get([(first, second)[i % 2].remote(i) for i in range(1, 100)], timeout=60)
"""

# What a busy machine does at the worst time: the raylet, which nobody needs for these tasks, stands still.
HOLD = """
from support import descendants
raylet = next(pid for pid in descendants() if open(f"/proc/{pid}/comm").read().startswith("ray-mpi-raylet"))
os.kill(raylet, signal.SIGSTOP)
subprocess.Popen(["sh", "-c", f"sleep 2.5; kill -CONT {raylet}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""


@pytest.mark.ours_only("there the last lines of a program may be lost")
@pytest.mark.parametrize("hold", ["", HOLD], ids=["", "raylet held up"])
def test_the_last_lines_come_each_with_its_task(tmp_path, hold):
    """A program that ends at once loses nothing, and a line bears the name of its task, however late it is read."""
    result = run_program(tmp_path, LAST_WORDS.replace("HOLD", hold), env={"RAY_DEDUP_LOGS": "0"})
    assert result.returncode == 0, result.stderr
    out, err = plain(result.stdout), plain(result.stderr)
    assert re.findall(r"\((\w+) pid=\d+\) line (\d+)\n", out) == [("first", str(i)) for i in range(0, 100, 2)]
    assert re.findall(r"\((\w+) pid=\d+\) line (\d+)\n", err) == [("second", str(i)) for i in range(1, 100, 2)]
    assert re.findall(r"\((\w+) pid=\d+\) open end (\d+)\n", out) == [("second", str(i)) for i in range(1, 100, 2)]


def test_descriptors_that_a_task_redirects_are_its_own(tmp_path):
    """What it prints into a file of its own is what it printed, and no more."""
    result = run_program(
        tmp_path,
        """
        import os, subprocess
        import ray

        @ray.remote
        def redirect():
            print("before")
            kept = os.dup(1)
            file = os.open("own.txt", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            print("in the file")
            os.dup2(kept, 1)
            subprocess.run(["echo", "from a child"])
            return open("own.txt").read()

        ray.init(num_cpus=1)
        assert ray.get(redirect.remote(), timeout=60) == "in the file\\n"
        """,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.ours_only("there lines are dropped, or the driver waits")
def test_a_reader_that_stops_holds_up_neither_driver_nor_lines(tmp_path):
    """The driver goes on while its pipe is full; what its workers wrote comes when somebody reads again."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import pathlib
            import ray

            @ray.remote
            def chatter(n):
                for i in range(20_000):
                    print(f"worker {n} says line {i} " + "." * 80)

            @ray.remote
            def add(a, b):
                return a + b

            ray.init(num_cpus=3)
            refs = [chatter.remote(n) for n in range(2)]
            pathlib.Path("started").touch()
            for i in range(200):
                assert ray.get(add.remote(i, 1), timeout=60) == i + 1
            pathlib.Path("went on").touch()
            ray.get(refs, timeout=60)
            """
        )
    )
    env = {**os.environ, "RAY_DEDUP_LOGS": "0"}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as driver:
        assert eventually(lambda: (tmp_path / "started").exists())
        time.sleep(1)  # the pipe is full long since
        assert eventually((tmp_path / "went on").exists, timeout=20), "the driver waits for its terminal"
        out = driver.communicate(timeout=60)[0].decode()
    assert driver.returncode == 0
    for n in range(2):
        assert [int(i) for i in re.findall(rf"worker {n} says line (\d+) ", out)] == list(range(20_000))
