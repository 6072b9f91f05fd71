# SPDX-License-Identifier: Apache-2.0
"""ray.cloudpickle: the cloudpickle package under the name that Ray programs know."""

from cloudpickle import *  # noqa: F403
from cloudpickle import CloudPickler, Pickler, dump, dumps, load, loads, register_pickle_by_value

__all__ = ["CloudPickler", "Pickler", "dump", "dumps", "load", "loads", "register_pickle_by_value"]
