# SPDX-License-Identifier: Apache-2.0
"""Finding a running session, and starting the embedded one-node runtime of a plain `python app.py`."""

import glob
import json
import os
import socket
import sys
import time

PACKAGE = os.path.dirname(os.path.abspath(__file__))
_START_TIMEOUT_S = 60.0
_APPEAR_TIMEOUT_S = 20.0


# Of the Cluster that this program has made: what an address that is left out, or "auto", means.
own_cluster = None


def find_running():
    """The run directory of this user's newest live session on this node, or None; one of a launch before those of
    nodes that joined later. Inside of a Slurm job: of that job, or of none."""
    found = []
    job = os.environ.get("SLURM_JOB_ID")
    for base in _bases():
        for path in glob.glob(os.path.join(base, f"ray-mpi-{os.getuid()}-*")):
            if job and path.rsplit("-", 1)[1].split(".")[0] not in (job, "local"):
                continue
            session = read_session(path)
            if session and _alive(session.get("keeper_pid", 0)):
                found.append((not session.get("joined"), session.get("created", 0), path))
    return max(found)[2] if found else None


def await_running():
    """The same; inside of a Slurm job it may still be on its way (`srun ray-mpi --serve &`), and is waited for."""
    path = find_running()
    give_up_at = time.monotonic() + (_APPEAR_TIMEOUT_S if "SLURM_JOB_ID" in os.environ else 0)
    while path is None and time.monotonic() < give_up_at:
        time.sleep(0.05)
        path = find_running()
    return path


def _bases():
    """Where run directories can be; a folder that the user named is the only one, as when one is made."""
    if os.environ.get("RAY_MPI_DIR"):
        return [os.environ["RAY_MPI_DIR"]]
    names = ("SLURM_TMPDIR", "XDG_RUNTIME_DIR", "TMPDIR")
    return list(dict.fromkeys([*filter(None, map(os.environ.get, names)), "/tmp"]))


def read_session(path):
    """The contents of session.json, or None when this is no run directory of ours."""
    try:
        with open(os.path.join(path, "session.json"), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def resolve(address):
    """The run directory to attach to, or None: start an embedded runtime. ConnectionError as Ray's."""
    launched = os.environ.get("RAY_MPI_SESSION")
    if address == "local":
        return None
    if address in (None, ""):
        address = os.environ.get("RAY_ADDRESS") or None
        if launched and address in (None, "auto", "local"):
            return launched
        if address is None and own_cluster is not None:
            return own_cluster
        if address in (None, "local"):
            return None
    if address == "auto":
        path = launched or own_cluster or await_running()
        if path is None:
            raise ConnectionError(
                "Could not find any running Ray instance: no live run directory of this user in "
                f"{', '.join(_bases())}. Start one with `ray-mpi --serve` (in a batch job `srun ray-mpi --serve &`), "
                "start the program with `ray-mpi app.py`, or leave address out."
            )
        return path
    if read_session(address) is None:
        kind = "ray:// (the Ray client) is not there in ray-mpi; " if address.startswith("ray://") else ""
        raise ConnectionError(
            f"{kind}address={address!r} is no run directory of ray-mpi on this node. "
            "Use 'auto', 'local', or the path that RAY_MPI_SESSION has inside of the run."
        )
    return address


class Embedded:
    """A runtime of one node, or one more node of another, that lives as long as our end of the control socket is
    open."""

    def __init__(self, options, environment=None, wait=True):
        import subprocess  # only who starts a runtime needs it

        program = _program()
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            argv = [program, "embedded", f"--control-fd={fd}", f"--python={sys.executable}", *options]
            try:
                # Its stdin is the terminal's, which is the driver's alone.
                self._process = subprocess.Popen(
                    argv, close_fds=True, pass_fds=(fd,), stdin=subprocess.DEVNULL, env=_environment(environment)
                )
            except OSError as error:
                ours.close()
                raise RuntimeError(f"cannot start {program}: {error}") from error
        self._control = ours
        self.pid = self._process.pid
        self._session = None
        if wait:
            _ = self.session

    @property
    def session(self):
        """Its run directory; waits until it is up."""
        if self._session is None:
            try:
                self._session = self._await_ready()
            except BaseException:
                self.stop()
                raise
        return self._session

    def _await_ready(self):
        self._control.settimeout(_START_TIMEOUT_S)
        line = b""
        try:
            while not line.endswith(b"\n"):
                part = self._control.recv(4096)
                if not part:
                    break
                line += part
        except socket.timeout:
            raise RuntimeError(f"the runtime was not ready after {_START_TIMEOUT_S:.0f} s") from None
        word, _, rest = line.decode(errors="replace").strip().partition(" ")
        if word == "session":
            return rest
        raise RuntimeError(f"the runtime did not start: {rest or 'it ended without a word (see stderr)'}")

    def stop(self):
        """Ends the runtime: it sees our end close. Bounded."""
        from subprocess import TimeoutExpired

        self._control.close()
        try:
            self._process.wait(timeout=10)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def alive(self):
        """Whether its first process, which ends last, still runs."""
        return self._process.poll() is None

    def terminate(self, patience_s):
        """Asks a node that joined to leave. False: it has not ended in that time."""
        from subprocess import TimeoutExpired

        self._process.terminate()
        try:
            self._process.wait(timeout=patience_s)
        except TimeoutExpired:
            return False
        return True

    def abandon(self):
        """In a forked child: it is the parent's."""
        self._control.close()


def _program():
    candidates = [os.environ.get("RAY_MPI_PROGRAM"), os.path.join(PACKAGE, "bin", "ray-mpi")]
    for path in filter(None, candidates):
        if os.access(path, os.X_OK):
            return path
    raise RuntimeError(f"the program ray-mpi is missing: looked for {candidates[1]}. Reinstall the package ray-mpi.")


def cpp_worker(code_search_path):
    """The command of a worker for the C++ libraries of these paths; [] when there are none to run. Only Python code
    may lie there, too."""
    libraries = [path for path in code_search_path if path.endswith(".so") or glob.glob(os.path.join(path, "*.so"))]
    for path in code_search_path:
        if not os.path.exists(path):
            raise ValueError(f"code_search_path: there is no {path}")
    if not libraries:
        return []
    program = os.path.join(PACKAGE, "bin", "ray-mpi-cpp-worker")
    if not os.access(program, os.X_OK):
        raise RuntimeError(f"the program ray-mpi-cpp-worker is missing: looked for {program}. Reinstall ray-mpi.")
    return [program, *libraries]


def _environment(more):
    """The runtime's: a program inside of an MPI or Slurm step starts a runtime of its own, no rank of that step."""
    environment = dict(os.environ)
    environment.pop("RAY_MPI_SESSION", None)
    environment.update(more or {})
    return environment


def start_embedded(**node):
    """Starts the runtime with what ray.init was given."""
    return Embedded(node_options(**node))


def node_options(
    num_cpus=None,
    num_gpus=None,
    resources=None,
    labels=None,
    object_store_memory=None,
    memory=None,
    object_spilling_directory=None,
    system_config=None,
):
    """What a node has, as options of the program."""
    options = []
    if num_cpus is not None:
        options.append(f"--num-cpus={num_cpus}")
    if num_gpus is not None:
        options.append(f"--num-gpus={num_gpus}")
    if resources:
        options.append(f"--resources={json.dumps(resources)}")
    if labels:
        options.append(f"--labels={json.dumps(labels)}")
    if object_store_memory is not None:
        options.append(f"--object-store-memory={int(object_store_memory)}")
    if memory is not None:
        options.append(f"--memory={int(memory)}")
    if object_spilling_directory is not None:
        options.append(f"--object-spilling-directory={os.fspath(object_spilling_directory)}")
    if system_config:
        options.append(f"--system-config={json.dumps(system_config)}")
    return options
