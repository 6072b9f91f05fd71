// SPDX-License-Identifier: Apache-2.0
// joining_driver ACTION NAME [NUMBER] [--ray_...]: one of several programs of a runtime that serves, as
// tests/launcher/test_serve_cpp.py runs them. Their actors are detached unless they say otherwise; workers
// are this program, or libraries with --ray_code_search_path.
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/cpp/programs/library_functions.h"

namespace {

ray::ActorHandle<LibActor> Find(const std::string& name) {
  const auto found = ray::GetActor<LibActor>(name);
  if (!found) throw std::runtime_error("nobody is called " + name);
  return *found;
}

template <typename Condition>
void Await(Condition&& condition) {
  for (int i = 0; !condition(); ++i) {
    if (i == 2000) throw std::runtime_error("it did not happen within 20 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void Make(const std::string& name, int start, bool stay) {
  const auto detached = ray::Actor(LibActor::Create).SetName(name).SetMaxRestarts(-1).Remote(start);
  const auto mine = ray::Actor(LibActor::Create)
                        .SetName(name + " of the job")
                        .SetLifetime(ray::ActorLifetime::NON_DETACHED)
                        .Remote(start);
  detached.Task(&LibActor::MakeOther).Remote("other than " + name).Get();
  std::cout << *detached.Task(&LibActor::Add).Remote(1).Get() << " "
            << *mine.Task(&LibActor::Add).Remote(2).Get() << std::endl;
  if (stay) std::this_thread::sleep_for(std::chrono::minutes(1));  // to be killed
}

// It is another process than that one, and was made anew.
void Moved(const ray::ActorHandle<LibActor>& actor, int from_pid) {
  Await([&] {
    try {
      return *actor.Task(&LibActor::Pid).Remote().Get() != from_pid;
    } catch (const ray::RayActorException& e) {
      if (std::string(e.what()).find("unavailable") != std::string::npos) return false;
      throw;
    }
  });
  std::cout << *actor.Task(&LibActor::Add).Remote(5).Get() << "\n";
}

void Die(const ray::ActorHandle<LibActor>& actor) {
  const int pid = *actor.Task(&LibActor::Pid).Remote().Get();
  try {
    actor.Task(&LibActor::Die).Remote().Get();
  } catch (const ray::RayActorException& e) {
    std::cout << e.what() << "\n";
  }
  Moved(actor, pid);
}

void Kill(const std::string& name) {
  Find(name).Kill();
  Await([&] { return !ray::GetActor<LibActor>(name); });
}

void Run(const std::string& action, const std::string& name, int number) {
  if (action == "make" || action == "stay") return Make(name, number, action == "stay");
  if (action == "die") return Die(Find(name));
  if (action == "moved") return Moved(Find(name), number);
  if (action == "kill") return Kill(name);
  if (action == "find") std::cout << (ray::GetActor<LibActor>(name) ? "there" : "nobody") << "\n";
  if (action == "pid") std::cout << *Find(name).Task(&LibActor::Pid).Remote().Get() << "\n";
  if (action == "add") std::cout << *Find(name).Task(&LibActor::Add).Remote(number).Get() << "\n";
  if (action == "task") std::cout << *Find(name).Task(&LibActor::AddShared).Remote().Get() << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  ray::RayConfig config;
  config.address = "auto";
  config.ray_namespace = "lab";
  config.default_actor_lifetime = ray::ActorLifetime::DETACHED;
  try {
    ray::Init(config, argc, argv);
    Run(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 0);
  } catch (const std::exception& e) {
    std::cout << "thrown: " << e.what() << "\n";
    return 7;
  }
}
