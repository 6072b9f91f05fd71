// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/output.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "bindings/python/src/module.h"
#include "runtime/raylet/output_frames.h"

namespace rmpi::python {
namespace {

std::string g_name;            // of the task whose output it is; under the GIL
ino_t g_pipes[3] = {0, 0, 0};  // what descriptors 1 and 2 were at the start

// Whether the descriptor still is the pipe to the raylet, and not a file that user code has put there.
bool IsPipe(int fd) {
  if (fd != STDOUT_FILENO && fd != STDERR_FILENO) return false;
  struct stat st {};
  return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_ino == g_pipes[fd];
}

void TakePipes() {
  for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; ++fd) {
    struct stat st {};
    if (fstat(fd, &st) == 0) g_pipes[fd] = st.st_ino;
  }
}

// As io.RawIOBase.write: the number of bytes that were written, at least one.
size_t WriteOutput(int fd, nb::handle data) {
  Py_buffer view;
  if (PyObject_GetBuffer(data.ptr(), &view, PyBUF_SIMPLE) != 0) nb::raise_python_error();
  const auto release = [](Py_buffer* v) { PyBuffer_Release(v); };
  const std::unique_ptr<Py_buffer, decltype(release)> guard(&view, release);
  auto size = static_cast<size_t>(view.len);
  std::string head;
  if (!g_name.empty() && IsPipe(fd)) {
    size = std::min(size, FrameRoom(g_name));
    head = FrameHead(g_name, size);
  }
  const iovec parts[2] = {{head.data(), head.size()}, {view.buf, size}};
  for (;;) {
    ssize_t n;
    {
      GilRelease nogil;
      n = writev(fd, parts, 2);
    }
    if (n >= 0) return static_cast<size_t>(n) - head.size();  // a frame is written whole or not at all
    if (errno != EINTR) {
      PyErr_SetFromErrno(PyExc_OSError);
      nb::raise_python_error();
    }
    if (PyErr_CheckSignals() != 0) nb::raise_python_error();
  }
}

}  // namespace

void SetOutputName(const std::string& name) {
  if (g_name != name) g_name = name;
}

void FlushOutput() {
  // Borrowed, as long as we live.
  static PyObject* const streams = PyModule_GetDict(PyImport_AddModule("sys"));
  static PyObject* const names[] = {PyUnicode_InternFromString("stdout"),
                                    PyUnicode_InternFromString("stderr")};
  static PyObject* const flush = PyUnicode_InternFromString("flush");
  for (PyObject* const name : names) {
    const nb::object stream = nb::borrow(PyDict_GetItemWithError(streams, name));
    if (!stream.is_valid() || stream.is_none()) continue;
    PyObject* const result = PyObject_CallMethodNoArgs(stream.ptr(), flush);
    if (result == nullptr) PyErr_Clear();
    Py_XDECREF(result);
  }
  std::fflush(stdout);
}

void InitOutput(nb::module_& m) {
  m.def("take_output_pipes", &TakePipes, "In a new worker: descriptors 1 and 2 are its pipes.");
  m.def("write_output", &WriteOutput, "fd"_a, "data"_a,
        "Worker: writes to stdout or stderr, in a frame that names the task; returns how much of it.");
}

}  // namespace rmpi::python
