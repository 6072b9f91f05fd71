// SPDX-License-Identifier: Apache-2.0
// A C++ driver that calls functions of a Python module beside it; tests/python/test_cross_language.py runs
// it.
#include <ray/api.h>

#include <cstdlib>
#include <iostream>
#include <map>
template <typename R, typename... A>
R Call(const char* name, const A&... a) {
  return *ray::Get(ray::Task(ray::PyFunction<R>{"cross_module", name}).Remote(a...), 50'000);
}
template <typename F>
void Show(const char* what, F&& call) {
  try {
    call();
    std::cout << what << ": nothing was thrown\n";
  } catch (const ray::RayTaskException& e) {
    const auto& o = e.origin();
    std::cout << what << ": " << o.language << " | " << o.function << " | " << o.type << " | " << o.message
              << " | " << (o.pid > 0) << "\n";
  } catch (const ray::RayException& e) {
    std::cout << what << ": " << e.what() << "\n";
  }
}
int main() {
  ray::RayConfig config;
  const char* python = std::getenv("TEST_PYTHON");
  if (python != nullptr) config.head_args = {"--num-cpus", "2", "--python", python};
  ray::Init(config);
  std::cout << Call<int>("twice", 21) << " " << Call<double>("twice", 1.5) << " "
            << Call<std::string>("twice", "ab") << "\n";
  std::cout << Call<std::vector<double>>("array", std::vector<double>(50'000, 2.0)).at(49'999) << "\n";
  std::cout << Call<std::map<std::string, int>>("count", std::vector<std::string>{"a", "b", "a"}).at("a")
            << "\n";
  ray::Get(ray::Task(ray::PyFunction<void>{"cross_module", "twice"}).Remote(1));
  const auto ref = ray::Task(ray::PyFunction<int>{"cross_module", "twice"}).Remote(ray::Put(4));
  std::cout << *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "twice"}).Remote(ref)) << "\n";
  std::cout << *ray::Get(ray::Task(ray::PyFunction<int>{"cross_module", "twice"})
                             .SetResource("CPU", 2)
                             .SetName("named")
                             .Remote(8))
            << "\n";
  Show("raises", [] { Call<int>("fails"); });
  Show("type", [] { Call<int>("twice", "ab"); });
  Show("form", [] { Call<int>("odd"); });
  Show("generator", [] { Call<int>("yields"); });
  Show("function", [] { Call<int>("nobody"); });
  Show("module", [] { ray::Get(ray::Task(ray::PyFunction<int>{"no_such_module", "f"}).Remote()); });
  Show("arguments", [] { Call<int>("twice", 1, 2); });
}
