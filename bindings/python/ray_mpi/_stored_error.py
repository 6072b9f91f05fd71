# SPDX-License-Identifier: Apache-2.0
"""How the error of a task travels: its cause pickled by itself, beside the text."""

import cloudpickle

from ray_mpi import exceptions


class StoredTaskError:
    """How a task's error is stored: the cause pickled by itself, so that an error whose class cannot be
    rebuilt in the reader still tells its text (UnserializableException)."""

    def __init__(self, error, creates_actor=False):
        self.creates_actor = creates_actor
        self.fields = error.__reduce__()[1]
        text = str(error)
        function_name, traceback_str, cause, *rest = self.fields
        try:
            self.cause = cloudpickle.dumps(cause, protocol=5)
        except Exception as failure:  # noqa: BLE001  (user code: __reduce__ and the like)
            kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
            replacement = exceptions.RayError(
                f"Exception {kind} isn't serializable: {failure}\nOriginal exception details:\n{traceback_str}"
            )
            self.cause = cloudpickle.dumps(replacement, protocol=5)
        self.fields = (function_name, traceback_str, None, *rest)
        self.text = text

    def restore(self):
        """The RayTaskError, or an UnserializableException; of an actor's constructor: the ActorDiedError."""
        try:
            cause = cloudpickle.loads(self.cause)
        except Exception:  # noqa: BLE001
            return exceptions.UnserializableException(f"ray.exceptions.RayTaskError: {self.text}\n")
        function_name, traceback_str, _, *rest = self.fields
        error = exceptions.RayTaskError(function_name, traceback_str, cause, *rest)
        return exceptions.ActorDiedError(error) if self.creates_actor else error
