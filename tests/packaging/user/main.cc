// SPDX-License-Identifier: Apache-2.0
#include <ray/api.h>

#include <iostream>
#include <vector>

#include "other.h"

int main() {
  ray::Init();
  std::vector<ray::ObjectRef<long>> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(ray::Task(Square).Remote(i));
  long sum = 0;
  for (const auto& value : ray::Get(refs)) sum += *value;
  ray::Shutdown();
  std::cout << "sum of squares " << sum << " abi " << ray::internal::abi::kVersion << "\n";
}
