// SPDX-License-Identifier: Apache-2.0
// The rows of bench/compare for C++ actors: Ray's own names and work per call, with a driver and actors in
// C++. An actor asks for no CPU, so that all rows run on two.
#include <ray/api.h>

#include <vector>

#include "bench/cpp_measure.h"

namespace {

constexpr int kBurst = 1000;
constexpr int kEach = 5000;

class Server {
 public:
  static Server* Create() { return new Server; }
  int Noop() { return 0; }
  int Take(const std::vector<int>& value) { return static_cast<int>(value.size()); }
};

// Calls the servers in turn, in its own process.
class Client {
 public:
  static Client* Create(const std::vector<ray::ActorHandle<Server>>& servers) { return new Client(servers); }
  int Call(int calls) {
    std::vector<ray::ObjectRef<int>> refs;
    refs.reserve(static_cast<size_t>(calls));
    for (int i = 0; i < calls; ++i) {
      refs.push_back(servers_[static_cast<size_t>(i) % servers_.size()].Task(&Server::Noop).Remote());
    }
    ray::Get(refs);
    return 0;
  }
  int CallWithArg(int calls) {
    const auto value = ray::Put(std::vector<int>(10));
    std::vector<ray::ObjectRef<int>> refs;
    refs.reserve(static_cast<size_t>(calls));
    for (int i = 0; i < calls; ++i) {
      refs.push_back(servers_[static_cast<size_t>(i) % servers_.size()].Task(&Server::Take).Remote(value));
    }
    ray::Get(refs);
    return 0;
  }

 private:
  explicit Client(const std::vector<ray::ActorHandle<Server>>& servers) : servers_(servers) {}
  std::vector<ray::ActorHandle<Server>> servers_;
};

}  // namespace

RAY_REMOTE(Server::Create, &Server::Noop, &Server::Take, Client::Create, &Client::Call, &Client::CallWithArg);

namespace {

std::vector<ray::ActorHandle<Server>> Servers(int count, int concurrency = 1) {
  std::vector<ray::ActorHandle<Server>> servers;
  for (int i = 0; i < count; ++i) {
    servers.push_back(ray::Actor(Server::Create).SetMaxConcurrency(concurrency).Remote());
    ray::Get(servers.back().Task(&Server::Noop).Remote());
  }
  return servers;
}

// Rounds of `calls` calls, to these in turn.
std::vector<double> Bursts(const std::vector<ray::ActorHandle<Server>>& servers, int calls) {
  std::vector<ray::ObjectRef<int>> refs;
  refs.reserve(static_cast<size_t>(calls));
  return bench::Rates(
      [&] {
        refs.clear();
        for (int i = 0; i < calls; ++i) {
          refs.push_back(servers[static_cast<size_t>(i) % servers.size()].Task(&Server::Noop).Remote());
        }
        ray::Get(refs);
      },
      calls);
}

// What `count` clients do at once, each in a process of its own.
template <typename Method>
std::vector<double> Clients(int count, int servers, Method method, int calls) {
  const auto targets = Servers(servers);
  std::vector<ray::ActorHandle<Client>> clients;
  for (int i = 0; i < count; ++i) clients.push_back(ray::Actor(Client::Create).Remote(targets));
  return bench::Rates(
      [&] {
        std::vector<ray::ObjectRef<int>> refs;
        for (const auto& client : clients) refs.push_back(client.Task(method).Remote(calls));
        ray::Get(refs);
      },
      static_cast<double>(count) * calls);
}

}  // namespace

int main() {
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--object-store-memory", "1G"};
  ray::Init(config);
  {
    const auto one = Servers(1);
    bench::Row(
        "cpp_1_1_actor_calls_sync", "us",
        bench::MicrosecondsEach(bench::Rates([&] { ray::Get(one[0].Task(&Server::Noop).Remote()); }, 1)));
    bench::Row("cpp_1_1_actor_calls_async", "calls/s", Bursts(one, kBurst));
  }
  bench::Row("cpp_1_1_actor_calls_concurrent", "calls/s", Bursts(Servers(1, 16), kBurst));
  bench::Row("cpp_1_n_actor_calls_async", "calls/s", Bursts(Servers(2), 2 * kEach));
  bench::Row("cpp_n_n_actor_calls_async", "calls/s", Clients(4, 2, &Client::Call, kEach));
  bench::Row("cpp_n_n_actor_calls_with_arg_async", "calls/s", Clients(2, 2, &Client::CallWithArg, kBurst));
  ray::Shutdown();
}
