// SPDX-License-Identifier: Apache-2.0
// Actors that several test programs use.
#pragma once

#include <ray/api.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace test {

class Counter {
 public:
  explicit Counter(int start = 0) : value_(start), restarted_when_made_(ray::WasCurrentActorRestarted()) {}
  static Counter* Create() { return new Counter; }
  static Counter* Create(int start) { return new Counter(start); }
  static Counter* CreateBad(const std::string& why) { throw std::invalid_argument(why); }
  static Counter* CreateNothing() { return nullptr; }
  static Counter* CreateExiting() { ray::ExitActor(); }

  int Add(int n) {
    value_ += n;
    return value_;
  }
  int Add(int n, int times) { return Add(n * times); }
  int Value() const noexcept { return value_; }
  void Reset() { value_ = 0; }
  int AddMany(const std::vector<int>& numbers) {
    for (const int n : numbers) value_ += n;
    return value_;
  }
  double SumView(ray::View<double> v) {
    double sum = 0;
    for (const double d : v) sum += d;
    return sum;
  }
  std::vector<double> Ones(int n) { return std::vector<double>(static_cast<size_t>(n), 1.0); }
  int Throw(const std::string& why) { throw std::out_of_range(why); }
  int ThrowUntil(int n) {
    if (++value_ < n) throw std::runtime_error("not yet");
    return value_;
  }
  int Pid() const { return static_cast<int>(::getpid()); }
  int Sleep(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return ++value_;
  }
  int Exit() { ray::ExitActor(); }
  int Die() {
    ::raise(SIGKILL);
    return 0;
  }
  // Dies the first time; `file` remembers.
  int DieOnce(const std::string& file) {
    if (std::ifstream(file).good()) return ++value_;
    std::ofstream(file) << "once";
    return Die();
  }
  bool RestartedWhenMade() const { return restarted_when_made_; }
  bool Restarted() const { return ray::WasCurrentActorRestarted(); }
  // Nodes may be hosts with process ids of their own, or share one host.
  std::string Node() const {
    char host[256] = {};
    ::gethostname(host, sizeof host - 1);
    return std::string(host) + ":" + std::to_string(::getppid());
  }

  // Other actors.
  int AddTo(ray::ActorHandle<Counter> other, int n);
  ray::ActorHandle<Counter> MakeChild(const std::string& name);
  void MakeDetached(const std::string& name);
  void Keep(ray::ActorHandle<Counter> other) { kept_ = std::move(other); }
  int AddToKept(int n);
  void Forget() { kept_ = {}; }

 private:
  int value_;
  bool restarted_when_made_;
  ray::ActorHandle<Counter> kept_;
};

struct Team {  // handles inside of a value
  ray::ActorHandle<Counter> first;
  std::vector<ray::ActorHandle<Counter>> others;
  MSGPACK_DEFINE(first, others)
};

// Says in a file that it has been deleted.
class Noted {
 public:
  explicit Noted(std::string file) : file_(std::move(file)) {}
  Noted(const Noted&) = delete;
  Noted& operator=(const Noted&) = delete;
  ~Noted() { std::ofstream(file_) << "deleted"; }
  static Noted* Create(const std::string& file) { return new Noted(file); }
  int Five() { return 5; }
  int Slow() {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    return 6;
  }

 private:
  std::string file_;
};

// Several calls at once: each waits until `count` of them are there.
class Meeting {
 public:
  static Meeting* Create() { return new Meeting; }
  int Meet(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    ++there_;
    changed_.notify_all();
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return there_ >= count; })) return -1;
    return there_;
  }
  int Most(int ms) {  // how many of these calls ran at once
    const int now = ++running_;
    for (int most = most_; most < now && !most_.compare_exchange_weak(most, now);) continue;
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    --running_;
    return most_;
  }
  int Nested() { return *ray::Get(ray::Task(Seven).Remote()); }
  static int Seven() { return 7; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int there_ = 0;
  std::atomic<int> running_{0};
  std::atomic<int> most_{0};
};

// Inheritance, with a base that does not lie at the start.
struct Named {
  virtual ~Named() = default;
  virtual std::string Name() const { return "named"; }
  long padding[4] = {1, 2, 3, 4};
};
struct Adding {
  virtual ~Adding() = default;
  int AddBase(int n) { return sum += n; }
  virtual int Twice(int n) = 0;
  int sum = 1000;
};
struct Both : Named, Adding {
  static Both* Create() { return new Both; }
  std::string Name() const override { return "both"; }
  int Twice(int n) override { return 2 * n; }
};

}  // namespace test
