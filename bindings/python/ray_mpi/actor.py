# SPDX-License-Identifier: Apache-2.0
"""Actors are not there yet: a class can be decorated, so that modules import, but not used."""

_NOT_YET = "Actors are not there yet in this version of ray-mpi: {} cannot be created"


class ActorClass:
    """A class under @ray.remote."""

    def __init__(self, cls, options):
        self.__ray_actor_class__ = cls
        self.__name__ = cls.__name__
        self.__doc__ = cls.__doc__
        self._options = options

    def remote(self, *args, **kwargs):
        raise NotImplementedError(_NOT_YET.format(self.__name__))

    def options(self, **options):
        return ActorClass(self.__ray_actor_class__, {**self._options, **options})

    def __call__(self, *args, **kwargs):
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{self.__name__}()', use '{self.__name__}.remote()'."
        )


class ActorHandle:
    """A reference to an actor; there are none yet."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError(_NOT_YET.format("an actor"))


def exit_actor():
    raise TypeError("exit_actor called on a non-actor worker.")
