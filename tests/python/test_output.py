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
print("PID", pid)
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
