// SPDX-License-Identifier: Apache-2.0
/// \file
/// Functions, classes and methods of Python, for ray::Task, ray::Actor and ActorHandleXlang::Task.
#pragma once

#include <string>

namespace ray {
inline namespace v5 {

/// Names the function `function_name` of the Python module `module_name` (dots for what is nested); R is what
/// its result is read as. Pass it to ray::Task; the function may be plain or decorated with `@ray.remote`.
template <typename R>
struct PyFunction {
  std::string module_name;    ///< as Python imports it, e.g. "package.module"
  std::string function_name;  ///< as the module has it, e.g. "twice" or "Class.static_method"
};

/// Names the class `class_name` of the Python module `module_name`, for ray::Actor; plain or decorated with
/// `@ray.remote`.
struct PyActorClass {
  std::string module_name;  ///< as Python imports it
  std::string class_name;   ///< as the module has it
};

/// Names a method of a Python actor, for ActorHandleXlang::Task; R is what its result is read as.
template <typename R>
struct PyActorMethod {
  std::string function_name;  ///< as the class has it
};

}  // namespace v5
}  // namespace ray
