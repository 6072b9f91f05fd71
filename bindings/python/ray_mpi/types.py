# SPDX-License-Identifier: Apache-2.0
"""Types for annotations."""

from ray_mpi._core import ObjectRef

__all__ = ["ObjectRef"]
