// SPDX-License-Identifier: Apache-2.0
/// \file
/// PyFunction: a Python function as a remote function.
#pragma once

#include <string>

namespace ray {
inline namespace v1 {

/// Names the function `function_name` of the Python module `module_name` (dots for what is nested); R is what
/// its result is read as. Pass it to ray::Task; the function may be plain or decorated with `@ray.remote`.
template <typename R>
struct PyFunction {
  std::string module_name;    ///< as Python imports it, e.g. "package.module"
  std::string function_name;  ///< as the module has it, e.g. "twice" or "Class.static_method"
};

}  // namespace v1
}  // namespace ray
