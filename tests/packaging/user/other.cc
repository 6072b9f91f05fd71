// SPDX-License-Identifier: Apache-2.0
// A second file that includes the headers: they define nothing twice.
#include "other.h"

#include <ray/api.h>

long Square(int x) { return long{x} * x; }
RAY_REMOTE(Square);
