# SPDX-License-Identifier: Apache-2.0
"""ray._common.utils: helpers for settings in the environment."""

from ray_mpi._private.ray_constants import env_bool, env_float, env_integer

__all__ = ["env_bool", "env_float", "env_integer"]
