# SPDX-License-Identifier: Apache-2.0
"""C++ tasks and actors in bench/compare: beside the bare lane (the limit) and beside Python's, all in one run."""

import json
import statistics
import subprocess

SYNC_OVER_LANE_US = 3.0
ASYNC_AT_LEAST = 1e6


class Section:
    """One program of C++ rows: its title, its rows that have marks of their own, and the Python rows of the same work."""

    def __init__(self, title, program, sync_row, async_row, async_of_lane, twins, note):
        self.title, self.program, self.note = title, program, note
        self.sync_row, self.async_row, self.async_of_lane = sync_row, async_row, async_of_lane
        self.twins = twins


SECTIONS = {
    "cpp": Section(
        "C++ tasks",
        "cpp_rows",
        "cpp_tasks_sync",
        "cpp_tasks_async",
        0.3,
        {
            "cpp_tasks_sync": "single_client_tasks_sync",
            "cpp_tasks_async": "single_client_tasks_async",
            "cpp_put_calls": "single_client_put_calls",
            "cpp_get_calls": "single_client_get_calls",
            "cpp_view_of_100MB": "get_100MB_array",
        },
        "What a missed mark of the asynchronous row shows: making the task and its record, the message, and reading the"
        " result take the driver about 1 us, evenly spread (no function has more than 2 % of it); a bare record takes 0.08 us.",
    ),
    "cpp_actors": Section(
        "C++ actors",
        "cpp_actor_rows",
        "cpp_1_1_actor_calls_sync",
        "cpp_1_1_actor_calls_async",
        None,
        {
            f"cpp_{name}": name
            for name in (
                "1_1_actor_calls_sync",
                "1_1_actor_calls_async",
                "1_1_actor_calls_concurrent",
                "1_n_actor_calls_async",
                "n_n_actor_calls_async",
                "n_n_actor_calls_with_arg_async",
            )
        },
        "What a missed mark of the asynchronous row shows: a call takes its caller and its actor about 0.7 us of CPU each,"
        " evenly spread (no function has more than 4 % of it), so that both need a core of their own for 1 M/s.",
    ),
}


def _lines(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def lane(build):
    """(round trip in us, records of 64 bytes per second) of bare lanes between two spinning threads; medians of 5."""
    command = [
        str(build / "bench" / "micro_lane"),
        "--benchmark_filter=RoundTrip/spinning_two_cpus|BM_OneWay/64/32",
        "--benchmark_format=json",
        "--benchmark_repetitions=5",
        "--benchmark_report_aggregates_only=true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    medians = [b for b in json.loads(done.stdout)["benchmarks"] if b["aggregate_name"] == "median"]
    trip = next(b["real_time"] for b in medians if b["run_name"].startswith("RoundTrip"))
    rate = next(b["items_per_second"] for b in medians if b["run_name"].startswith("BM_OneWay"))
    return trip / 1000, rate


def measure(section, build):
    """{"rows": {name: {"unit", "samples"}}, "trip_us", "records"}."""
    trip, records = lane(build)
    rows = {row["row"]: row for row in _lines([str(build / "bench" / section.program)])}
    return {"rows": rows, "trip_us": trip, "records": records}


def table(section, found, python, spread, quantity):
    """Lines of the table: name, unit, C++, Python, what it is compared with, mark, verdict."""
    for name, row in found["rows"].items():
        middle = statistics.median(row["samples"])
        twin = python.get(section.twins[name])
        theirs = statistics.median(twin["samples"]) if twin and twin.get("samples") else None
        if theirs is not None and row["unit"] == "us":
            theirs = 1e6 / theirs
        compared, marks, good = [], [], []
        if name == section.sync_row:
            compared.append(f"lane round trip {found['trip_us']:.2f} us + {middle - found['trip_us']:.2f} us")
            marks.append(f"+ {SYNC_OVER_LANE_US:g} us")
            good.append(middle - found["trip_us"] <= SYNC_OVER_LANE_US)
        if name == section.async_row:
            of_lane = middle / found["records"]
            compared.append(f"{of_lane:.2f} of the lane's {quantity(found['records'])} records/s")
            marks.append("1 M/s" + (f" and {section.async_of_lane} of the lane" if section.async_of_lane else ""))
            good.append(middle >= ASYNC_AT_LEAST and of_lane >= (section.async_of_lane or 0))
        if theirs is not None:
            ratio = theirs / middle if row["unit"] == "us" else middle / theirs
            compared.append(f"{quantity(ratio)}x Python")
            marks.append("not below Python")
            good.append(ratio >= 1)
        verdict = "-" if not good else "met" if all(good) else "**missed**"
        yield name, row["unit"], spread(row), quantity(theirs) if theirs else "-", ", ".join(compared), ", ".join(marks), verdict


HEAD = ("row", "unit", "C++", "Python", "beside", "mark", "verdict")


def text(section, found, python, spread, quantity):
    lines = ["", f"## {section.title}", ""]
    lines += [f"`build/release/bench/{section.program}` (a C++ driver, two CPUs) and `micro_lane`, in the same run.", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(line) + " |" for line in table(section, found, python, spread, quantity)]
    if any("missed" in line for line in lines):
        lines += ["", section.note]
    return lines
