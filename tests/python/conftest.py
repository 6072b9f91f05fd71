# SPDX-License-Identifier: Apache-2.0
"""Fixtures and marks of the behaviour tests. Every test has a hard end; every module starts its own runtime."""

import faulthandler
import os
import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
# Functions of a test module are pickled by name: workers need this folder, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))

import ray  # noqa: E402
import support  # noqa: E402

TEST_LIMIT_S = 180


def pytest_configure(config):
    config.addinivalue_line("markers", "ours_only(reason): behaviour that we promise and Ray does not")
    config.addinivalue_line("markers", "slow: takes more than a few seconds even here")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("ours_only")
        if mark and support.UNDER_RAY:
            item.add_marker(pytest.mark.skip(reason=f"differs from Ray on purpose: {mark.args[0]}"))


@pytest.fixture(autouse=True)
def limit():
    """Fail a test that hangs, with the stack; end the whole run if even that is blocked."""

    def expired(signum, frame):
        raise TimeoutError(f"test ran longer than {TEST_LIMIT_S} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_LIMIT_S)
    faulthandler.dump_traceback_later(TEST_LIMIT_S + 30, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="module")
def ray_2cpu():
    """Two logical CPUs and one custom resource, for a whole module."""
    yield support.fresh_runtime(num_cpus=2, resources={"slot": 4}, object_store_memory=300 * 1024 * 1024)
    ray.shutdown()


@pytest.fixture
def no_runtime():
    """Start and end without a runtime."""
    ray.shutdown()
    yield ray
    ray.shutdown()
