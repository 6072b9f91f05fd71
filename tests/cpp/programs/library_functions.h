// SPDX-License-Identifier: Apache-2.0
// What the libraries of the tests have; the driver has bodies of its own that must not be the ones that run.
#pragma once

#include <ray/api.h>

int LibPlus(int a, int b);
double LibSum(ray::View<double> v);
int LibThrow();
int LibNested(int n);
int LibTwo();
int LibClash();

// In a header that both libraries include: the same function twice is no clash.
inline int LibShared() { return 11; }
RAY_REMOTE(LibShared);
