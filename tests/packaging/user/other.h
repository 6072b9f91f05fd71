// SPDX-License-Identifier: Apache-2.0
#pragma once

long Square(int x);
