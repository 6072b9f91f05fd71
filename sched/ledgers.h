// SPDX-License-Identifier: Apache-2.0
// What is kept of every owner's demand for every shape, as long as the owner lives.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "runtime/ids/ids.h"

namespace rmpi::sched {

// By owner and shape. An entry stays where it is until it is erased.
template <class Ledger>
using LedgersByOwner = std::map<std::pair<Address, uint32_t>, Ledger>;

template <class Ledger>
void EraseOwner(LedgersByOwner<Ledger>* ledgers, const Address& owner) {
  ledgers->erase(ledgers->lower_bound({owner, 0}), ledgers->upper_bound({owner, UINT32_MAX}));
}

}  // namespace rmpi::sched
