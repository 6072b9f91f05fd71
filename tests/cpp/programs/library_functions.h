// SPDX-License-Identifier: Apache-2.0
// What the libraries of the tests have; the driver has bodies of its own that must not be the ones that run.
#pragma once

#include <ray/api.h>
#include <unistd.h>

#include <csignal>
#include <string>

int LibPlus(int a, int b);
double LibSum(ray::View<double> v);
int LibThrow();
int LibNested(int n);
int LibTwo();
int LibClash();

// In a header that both libraries include: the same function, factory or method twice is no clash.
inline int LibShared() { return 11; }
class LibActor {
 public:
  static LibActor* Create(int start) { return new LibActor(start); }
  virtual ~LibActor() = default;
  int Add(int n) { return value_ += n; }
  virtual int Twice() { return 2 * value_; }
  int AddShared() { return Add(*ray::Get(ray::Task(LibShared).Remote())); }  // by a task of its job
  void MakeOther(const std::string& name) {
    ray::Actor(Create).SetName(name).SetMaxRestarts(-1).Remote(value_);
  }
  int Pid() { return static_cast<int>(::getpid()); }
  int Die() { return ::raise(SIGKILL); }

 private:
  explicit LibActor(int start) : value_(start) {}
  int value_;
};
RAY_REMOTE(LibShared, LibActor::Create, &LibActor::Add, &LibActor::Twice, &LibActor::AddShared);
RAY_REMOTE(&LibActor::MakeOther, &LibActor::Pid, &LibActor::Die);
