# SPDX-License-Identifier: Apache-2.0
"""`import ray` with this folder's parent on the path: this module replaces itself by ray_mpi, which is the package that
this folder is in where no other one is installed (a build tree, a prefix)."""

import os.path
import sys

_is_ray_mpi_path = True

try:
    import ray_mpi
except ModuleNotFoundError as missing:
    if missing.name != "ray_mpi":
        raise
    sys.path.append(os.path.abspath(os.path.join(__file__, "../../../..")))
    import ray_mpi

sys.modules[__name__] = ray_mpi
