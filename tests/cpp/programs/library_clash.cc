// SPDX-License-Identifier: Apache-2.0
// Has a function of another library's name.
#include <ray/api.h>

int LibClash() { return 3; }
RAY_REMOTE(LibClash);
