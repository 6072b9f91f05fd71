# SPDX-License-Identifier: Apache-2.0
"""The classes of streaming results; there are no instances yet, but programs ask isinstance()."""


class ObjectRefGenerator:
    """What a remote generator returns."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError("remote generators (streaming results) are not there yet in this version of ray-mpi")


class DynamicObjectRefGenerator(ObjectRefGenerator):
    """What num_returns="dynamic" returns."""
