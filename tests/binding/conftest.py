# SPDX-License-Identifier: Apache-2.0
"""The runtime for the few tests here that need one."""

import pytest
import ray


@pytest.fixture(scope="session")
def runtime():
    ray.init(num_cpus=2, log_to_driver=False)
    yield ray
    ray.shutdown()
