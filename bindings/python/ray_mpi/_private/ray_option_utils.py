# SPDX-License-Identifier: Apache-2.0
"""ray._private.ray_option_utils: the tables of options."""

from ray_mpi._options import Option, actor_options, task_options, update_options, valid_options

__all__ = ["Option", "actor_options", "task_options", "update_options", "valid_options"]
