# SPDX-License-Identifier: Apache-2.0
"""`import ray` with this folder's parent on the path: this module replaces itself by ray_mpi."""

import sys

_is_ray_mpi_path = True

import ray_mpi  # noqa: E402

sys.modules[__name__] = ray_mpi
