// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/mpi_quiet.h"

#include <dlfcn.h>
#include <mpi.h>

#include <cstdarg>
#include <cstring>
#include <initializer_list>

namespace rmpi {

#if defined(OPEN_MPI) && OMPI_MAJOR_VERSION == 4

namespace {

// Open MPI 4 prints its pages through these two pointers of libopen-pal, made to be replaced. Its
// `want_header` is a bool, passed as an int is; va_start does not take one.
using ShowHelp = int (*)(const char* file, const char* topic, int want_header, ...);
using ShowHelpV = int (*)(const char* file, const char* topic, bool want_header, va_list arguments);
ShowHelpV* g_show_with_list = nullptr;

bool AboutDeadPeer(const char* file, const char* topic) {
  if (std::strcmp(file, "help-mpi-btl-tcp.txt") != 0) return false;
  for (const char* known : {"peer hung up", "client connect fail", "client handshake fail",
                            "dropped inbound connection", "server getpeername failed"}) {
    if (std::strcmp(topic, known) == 0) return true;
  }
  return false;
}

int Show(const char* file, const char* topic, int want_header, ...) {
  if (AboutDeadPeer(file, topic)) return 0;
  va_list arguments;
  va_start(arguments, want_header);
  const int rc = (*g_show_with_list)(file, topic, want_header != 0, arguments);
  va_end(arguments);
  return rc;
}

}  // namespace

void SilencePagesAboutDeadPeers() {
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(library, &length);
  if (std::strncmp(library, "Open MPI v4.", 12) != 0) return;  // compiled against 4, run with something else
  auto* show = static_cast<ShowHelp*>(dlsym(RTLD_DEFAULT, "opal_show_help"));
  auto* show_with_list = static_cast<ShowHelpV*>(dlsym(RTLD_DEFAULT, "opal_show_vhelp"));
  if (show == nullptr || show_with_list == nullptr) return;
  g_show_with_list = show_with_list;
  *show = Show;
}

#else

void SilencePagesAboutDeadPeers() {}

#endif

}  // namespace rmpi
