// SPDX-License-Identifier: Apache-2.0
#include "launcher/run.h"
#include "runtime/raylet/raylet.h"

int main(int argc, char** argv) { return rmpi::launcher::Main(argc, argv, rmpi::RunRaylet); }
