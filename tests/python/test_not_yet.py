# SPDX-License-Identifier: Apache-2.0
"""What this version does not do must say so, at once and by name, rather than half work."""

import pytest
import ray
from support import get

pytestmark = [pytest.mark.usefixtures("ray_2cpu"), pytest.mark.ours_only("not in this version")]


def one():
    return 1


def refused(word):
    return pytest.raises(NotImplementedError, match=word)


def test_actors():
    with refused("[Aa]ctor"):

        @ray.remote
        class Counter:
            def value(self):
                return 1

        Counter.remote()


def test_generators():
    with refused("[Gg]enerator"):

        @ray.remote
        def stream():
            yield 1

        stream.remote()


def test_streaming_results():
    with refused("num_returns|[Gg]enerator|streaming"):
        ray.remote(num_returns="streaming")(one).remote()


def test_placement_groups():
    with refused("[Pp]lacement"):
        ray.util.placement_group([{"CPU": 1}])


def test_runtime_env():
    with refused("runtime_env"):
        ray.remote(runtime_env={"env_vars": {"A": "b"}})(one).remote()


def test_named_actors():
    with pytest.raises((NotImplementedError, ValueError)):
        ray.get_actor("nobody")


def test_tasks_still_work_afterwards():
    assert get(ray.remote(one).remote()) == 1
