# SPDX-License-Identifier: Apache-2.0
"""ray.experimental: the parts that packages use."""

from ray_mpi.experimental import internal_kv

__all__ = ["internal_kv"]
