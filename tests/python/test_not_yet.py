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


class Plain:
    def value(self):
        return 1


@pytest.mark.parametrize(
    "options",
    [
        {"runtime_env": {"env_vars": {"A": "b"}}},
        {"_actor_generator_backpressure_num_objects": 3},
    ],
)
def test_options_of_actors(options):
    with refused(next(iter(options))):
        ray.remote(**options)(Plain).remote()


def test_runtime_env():
    with refused("runtime_env"):
        ray.remote(runtime_env={"env_vars": {"A": "b"}})(one).remote()


def test_tasks_still_work_afterwards():
    assert get(ray.remote(one).remote()) == 1
