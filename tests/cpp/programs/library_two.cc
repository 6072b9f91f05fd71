// SPDX-License-Identifier: Apache-2.0
// Another one; its LibClash is the program's word against library_clash's.
#include <ray/api.h>

#include "tests/cpp/programs/library_functions.h"

int LibTwo() { return 22; }
int LibClash() { return 2; }
RAY_REMOTE(LibTwo, LibClash);
