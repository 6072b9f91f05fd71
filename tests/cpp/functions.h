// SPDX-License-Identifier: Apache-2.0
// Remote functions that several test programs use.
#pragma once

#include <ray/api.h>

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace test {

struct Point {
  int x = 0;
  double y = 0;
  std::string name;
  std::vector<double> row;
  MSGPACK_DEFINE(x, y, name, row)
};

struct Holder {  // refs inside of a value
  ray::ObjectRef<int> one;
  std::vector<ray::ObjectRef<int>> many;
  MSGPACK_DEFINE(one, many)
};

enum class Color { kRed = 1, kBlue = 2 };

inline int Plus(int a, int b) { return a + b; }
inline int PlusOne(int a) noexcept { return a + 1; }
inline int Over(int a) { return a + 1; }
inline std::string Over(const std::string& a) { return a + "!"; }
inline int Over() { return 7; }
inline void Nothing() {}
inline std::string Greet(const std::string& who) { return "hello " + who; }
inline double SumView(ray::View<double> v) {
  double sum = 0;
  for (const double d : v) sum += d;
  return sum;
}
inline double SumVector(const std::vector<double>& v) { return SumView({v.data(), v.size()}); }
inline std::vector<double> Ones(size_t n) { return std::vector<double>(n, 1.0); }
inline Point Move(Point p, double dx, const std::map<std::string, int>& more) {
  p.x += static_cast<int>(dx);
  for (const auto& [key, value] : more) p.name += key + std::to_string(value);
  p.row.push_back(p.y);
  return p;
}
inline Color Other(Color c) { return c == Color::kRed ? Color::kBlue : Color::kRed; }
inline int ReadRef(ray::ObjectRef<int> ref) { return *ref.Get(); }
inline int ReadHolder(const Holder& h) {
  int sum = *h.one.Get();
  for (const auto& ref : h.many) sum += *ref.Get();
  return sum;
}
inline std::vector<ray::ObjectRef<int>> MakeRefs(int n) {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < n; ++i) refs.push_back(ray::Put(i));
  return refs;
}
inline int ThrowRange(int x) {
  if (x > 0) throw std::out_of_range("no such x: " + std::to_string(x));
  return x;
}
inline int ThrowInt() { throw 5; }  // NOLINT: what a user's code may do
int Fib(int n);
struct Shape {
  static double Area(double a, double b) { return a * b; }
};

}  // namespace test

MSGPACK_ADD_ENUM(test::Color);
