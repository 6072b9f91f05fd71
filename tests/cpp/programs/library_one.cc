// SPDX-License-Identifier: Apache-2.0
// A library of a code search path.
#include <ray/api.h>

#include <stdexcept>

#include "tests/cpp/programs/library_functions.h"

int LibPlus(int a, int b) { return a + b; }
double LibSum(ray::View<double> v) {
  double sum = 0;
  for (const double d : v) sum += d;
  return sum;
}
int LibThrow() { throw std::domain_error("from the library"); }
int LibNested(int n) { return *ray::Get(ray::Task(LibPlus).Remote(n, 1)); }
RAY_REMOTE(LibPlus, LibSum, LibThrow, LibNested);
