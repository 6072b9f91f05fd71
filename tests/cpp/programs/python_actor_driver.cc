// SPDX-License-Identifier: Apache-2.0
// A C++ driver that makes and calls actors of a Python module beside it;
// tests/python/test_cross_language_actors.py runs it.
#include <ray/api.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

class Counter {
 public:
  static Counter* Create(int start) { return new Counter(start); }
  int Add(int n) { return value_ += n; }

 private:
  explicit Counter(int start) : value_(start) {}
  int value_;
};
RAY_REMOTE(Counter::Create, RAY_FUNC(&Counter::Add, int));

namespace {

const ray::PyActorClass kTally{"cross_actors", "Tally"};

template <typename R = int, typename... A>
R Call(const ray::ActorHandleXlang& actor, const char* method, const A&... a) {
  return *ray::Get(actor.Task(ray::PyActorMethod<R>{method}).Remote(a...), 50'000);
}

template <typename F>
void Show(const char* what, F&& call) {
  try {
    call();
    std::cout << what << ": nothing was thrown\n";
  } catch (const ray::RayTaskException& e) {
    const auto& o = e.origin();
    std::cout << what << ": " << o.language << " | " << o.function << " | " << o.type << " | " << o.message
              << "\n";
  } catch (const ray::RayException& e) {
    std::string text = e.what();
    for (char& c : text) c = c == '\n' ? ' ' : c;
    std::cout << what << ": " << text << "\n";
  }
}

void Values() {
  ray::ActorHandleXlang tally = ray::Actor(kTally).SetName("tally").Remote(10);
  std::cout << Call(tally, "add", 5) << "\n";
  const auto counted = ray::Actor(kTally).Remote();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 5; ++i) refs.push_back(counted.Task(ray::PyActorMethod<int>{"add"}).Remote(1));
  for (const auto& ref : refs) std::cout << *ref.Get() << (ref == refs.back() ? "\n" : " ");
  // Its handle in a C++ actor's hands, and the other way round.
  const auto counter = ray::Actor(Counter::Create).SetName("counter").Remote(100);
  std::cout << Call(tally, "add_to", counter, 7) << " "
            << *ray::Get(
                   ray::Task(ray::PyFunction<int>{"cross_actors", "add_to_counter"}).Remote("counter", 3))
            << "\n";
  // Names.
  const auto found = ray::GetActor("tally");
  std::cout << Call(*found, "add", 25) << " "
            << *ray::Get(ray::Task(ray::PyFunction<int>{"cross_actors", "add_to_named"}).Remote("tally", 1))
            << "\n";
  // A decorated class, with an async method; several calls, resources.
  const auto decorated =
      ray::Actor(ray::PyActorClass{"cross_actors", "Decorated"}).SetMaxConcurrency(4).Remote(2);
  std::cout << Call(decorated, "add_later", ray::Put(3)) << "\n";
  const auto holding = ray::Actor(kTally).SetResource("CPU", 1).SetMaxRestarts(1).Remote(1);
  std::cout << Call(holding, "add", 2) << "\n";
}

void Errors() {
  auto tally = ray::Actor(kTally).SetName("errors").Remote(1);
  Show("method", [&] { Call(tally, "fail"); });
  Show("type", [&] { Call(tally, "__repr__"); });
  Show("form", [&] { Call(tally, "odd"); });
  Show("nobody", [&] { Call(tally, "nobody"); });
  Show("constructor", [] { Call(ray::Actor(kTally).Remote(-1), "add", 1); });
  Show("module", [] { Call(ray::Actor(ray::PyActorClass{"no_such_module", "C"}).Remote(), "f"); });
  Show("taken", [] { ray::Actor(kTally).SetName("errors").Remote(1); });
  Show("exit", [&] { Call(ray::Actor(kTally).Remote(1), "exit"); });
  tally.Kill();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  Show("killed", [&] { Call(tally, "add", 1); });
}

}  // namespace

int main() {
  ray::RayConfig config;
  const char* python = std::getenv("TEST_PYTHON");
  if (python != nullptr) config.head_args = {"--num-cpus", "2", "--python", python};
  ray::Init(config);
  Values();
  Errors();
}
