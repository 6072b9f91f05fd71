# SPDX-License-Identifier: Apache-2.0
"""Calls of actors: one caller or several, one actor or several, plain ones, threaded ones, async ones.

With two CPUs, "n" actors of Ray's microbenchmark are one. The calls of a batch are 1,000 (--full: 5,000) where others
than the driver make them.
"""

import os
import time

import ray
from measure import full, main, row

BATCH = 1_000
CALLERS = 4
SERVERS = max(1, 2 // 2)
THREADS = 16


@ray.remote(num_cpus=0)
class Server:
    def small_value(self, _=None):
        return b"ok"


@ray.remote(num_cpus=0)
class AsyncServer:
    async def small_value(self, _=None):
        return b"ok"


@ray.remote(num_cpus=0)
class Client:
    """Calls servers on behalf of the driver."""

    def __init__(self, servers):
        self.servers = servers

    def calls(self, number):
        ray.get([server.small_value.remote() for _ in range(number) for server in self.servers])

    def calls_with_ref(self, number):
        ref = ray.put(0)
        ray.get([server.small_value.remote(ref) for _ in range(number) for server in self.servers])


@ray.remote
def call_round_robin(servers, number):
    ray.get([servers[i % len(servers)].small_value.remote() for i in range(number)])


@ray.remote(num_cpus=0)
class Cell:
    def __init__(self, number):
        self.number = number

    def read(self):
        return self.number, os.getpid()


def per_caller():
    return 5_000 if full() else BATCH


def started(*actors):
    ray.get([actor.small_value.remote() for actor in actors])
    return list(actors)


def one_by_one(actor):
    started(actor)
    return lambda: ray.get(actor.small_value.remote()), 1


def batch(actor, *args):
    started(actor)
    return lambda: ray.get([actor.small_value.remote(*args) for _ in range(BATCH)]), BATCH


def one_client(servers):
    client, number = Client.remote(servers), per_caller()
    return lambda: ray.get(client.calls.remote(number)), number * len(servers)


def many_callers(servers):
    number = per_caller()
    return lambda: ray.get([call_round_robin.remote(servers, number) for _ in range(CALLERS)]), CALLERS * number


def servers_of(actor_class):
    return started(*(actor_class.remote() for _ in range(SERVERS)))


@row("1_1_actor_calls_sync", "calls/s")
def calls_sync():
    return one_by_one(Server.remote())


@row("1_1_actor_calls_async", "calls/s")
def calls_async():
    return batch(Server.remote())


@row("1_1_actor_calls_concurrent", "calls/s")
def calls_concurrent():
    return batch(Server.options(max_concurrency=THREADS).remote())


@row("1_1_async_actor_calls_sync", "calls/s")
def async_calls_sync():
    return one_by_one(AsyncServer.remote())


@row("1_1_async_actor_calls_async", "calls/s")
def async_calls_async():
    return batch(AsyncServer.remote())


@row("1_1_async_actor_calls_with_args_async", "calls/s")
def async_calls_with_args():
    return batch(AsyncServer.remote(), 7)


@row("1_n_actor_calls_async", "calls/s")
def one_to_many():
    return one_client(servers_of(Server))


@row("n_n_actor_calls_async", "calls/s")
def many_to_many():
    return many_callers(servers_of(Server))


@row("n_n_actor_calls_with_arg_async", "calls/s")
def many_to_many_with_ref():
    clients = [Client.remote([server]) for server in servers_of(Server)]
    return lambda: ray.get([client.calls_with_ref.remote(BATCH) for client in clients]), BATCH * len(clients)


@row("1_n_async_actor_calls_async", "calls/s")
def async_one_to_many():
    return one_client(servers_of(AsyncServer))


@row("n_n_async_actor_calls_async", "calls/s")
def async_many_to_many():
    return many_callers(servers_of(AsyncServer))


def proportional_bytes(pid):
    """What of the memory of this process is its own, and its part of what it shares."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


@row("actors_created_and_called", "actors/s", value=True)
def created():
    """1,000 of ours, 100 of Ray's, none of which holds a CPU."""
    number = 1_000 if ray.__name__ == "ray_mpi" else 100
    ray.get([Cell.remote(i).read.remote() for i in range(5)])
    start = time.perf_counter()
    cells = [Cell.remote(i) for i in range(number)]
    answers = ray.get([cell.read.remote() for cell in cells])
    spent = time.perf_counter() - start
    assert [found for found, _ in answers] == list(range(number))
    return number / spent


@row("actor_memory", "B/actor", value=True)
def memory():
    cells = [Cell.remote(i) for i in range(40)]
    pids = [pid for _, pid in ray.get([cell.read.remote() for cell in cells])]
    return sum(map(proportional_bytes, pids)) / len(pids)


if __name__ == "__main__":
    main()
