// SPDX-License-Identifier: Apache-2.0
#include "sched/bundle_placement.h"

#include <algorithm>
#include <map>
#include <optional>
#include <queue>
#include <tuple>

#include "sched/pool.h"

namespace rmpi::sched {
namespace {

constexpr size_t kSearched = 256;   // bundles times nodes: beyond, what the greedy choice misses is missed
constexpr int kMostSteps = 20'000;  // of a search

// A node as it fills up.
struct Spot {
  const PlacementNode* view = nullptr;
  std::optional<Amounts> left;  // copied when something is put here first
  uint32_t bundles = 0;         // of the group, those of before included

  const Amounts& free() const { return left ? *left : *view->free; }
  double use() const { return CriticalUse(*view->total, free()); }
  void Put(const Amounts& bundle) {
    if (!left) left = *view->free;
    TakeFromReport(&*left, bundle);
    ++bundles;
  }
};

// Bundles that want the same.
struct Kind {
  const WantedBundle* bundle = nullptr;
  std::vector<size_t> bundles;
};

class Placing {
 public:
  Placing(const std::vector<PlacementNode>& nodes, const std::vector<WantedBundle>& bundles)
      : bundles_(bundles), kind_of_(bundles.size()), chosen_(bundles.size(), kNowhere) {
    for (const PlacementNode& n : nodes) spots_.push_back({&n, std::nullopt, n.has});
    FindKinds();
  }

  std::vector<uint32_t> StrictPack(uint32_t soft_node);
  std::vector<uint32_t> StrictSpread();
  std::vector<uint32_t> Pack();
  std::vector<uint32_t> Spread();
  std::vector<uint32_t> Search();

 private:
  static constexpr size_t kNowhere = SIZE_MAX;

  void FindKinds();
  double Share(const Amounts& want) const;
  // Whether the node's labels are what the kind asks for; and whether there is room, too.
  bool Suits(size_t kind, size_t spot) const;
  bool FitsOn(size_t kind, size_t spot) const;
  uint64_t Takes(size_t spot, const std::vector<size_t>& left) const;
  std::vector<uint32_t> Result() const;
  size_t FreeSpotFor(size_t kind, const std::vector<std::vector<bool>>& fits, std::vector<size_t>* held);
  bool SearchFrom(size_t depth, const std::vector<size_t>& order);

  const std::vector<WantedBundle>& bundles_;
  std::vector<Spot> spots_;
  std::vector<Kind> kinds_;               // the largest first
  std::vector<size_t> kind_of_;           // of each bundle
  std::vector<std::vector<bool>> suits_;  // by kind, empty if it asks for no labels: by spot
  std::vector<size_t> chosen_;            // spot of each bundle
  int steps_ = 0;
};

// How much of the largest node it takes.
double Placing::Share(const Amounts& want) const {
  double share = 0;
  for (const auto& [name, amount] : want) {
    int64_t most = 1;
    for (const Spot& s : spots_) most = std::max(most, AmountOf(*s.view->total, name));
    share = std::max(share, static_cast<double>(amount) / static_cast<double>(most));
  }
  return share;
}

void Placing::FindKinds() {
  std::map<WantedBundle, size_t> known;
  for (size_t i = 0; i < bundles_.size(); ++i) {
    const auto [it, fresh] = known.try_emplace(bundles_[i], kinds_.size());
    if (fresh) kinds_.push_back({&bundles_[i], {}});
    kinds_[it->second].bundles.push_back(i);
  }
  // Those that not every node may hold go first, then the largest.
  std::vector<std::pair<double, Kind>> ranked;
  for (Kind& k : kinds_) {
    const double first = k.bundle->labels.empty() ? 0 : 1e9;
    ranked.emplace_back(kinds_.size() == 1 ? 0 : first + Share(k.bundle->resources), std::move(k));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](auto& a, auto& b) { return a.first > b.first; });
  kinds_.clear();
  for (auto& [share, k] : ranked) {
    for (const size_t b : k.bundles) kind_of_[b] = kinds_.size();
    kinds_.push_back(std::move(k));
  }
  for (const Kind& k : kinds_) {
    std::vector<bool>& suits = suits_.emplace_back();
    if (k.bundle->labels.empty()) continue;
    for (const Spot& s : spots_) {
      const Labels none;
      suits.push_back(Matches(s.view->labels == nullptr ? none : *s.view->labels, k.bundle->labels));
    }
  }
}

bool Placing::Suits(size_t kind, size_t spot) const { return suits_[kind].empty() || suits_[kind][spot]; }

bool Placing::FitsOn(size_t kind, size_t spot) const {
  return Suits(kind, spot) && ReportFits(spots_[spot].free(), kinds_[kind].bundle->resources);
}

std::vector<uint32_t> Placing::Result() const {
  std::vector<uint32_t> out;
  for (const size_t spot : chosen_) out.push_back(spots_[spot].view->node);
  return out;
}

// How many of what is left, so many of each kind, a node takes.
uint64_t Placing::Takes(size_t spot, const std::vector<size_t>& left) const {
  const Amounts& free = spots_[spot].free();
  uint64_t sum = 0;
  std::optional<Amounts> rest;  // copied when a second look is needed
  for (size_t k = 0; k < kinds_.size(); ++k) {
    if (!Suits(k, spot)) continue;
    const Amounts& want = kinds_[k].bundle->resources;
    uint64_t most = left[k];
    const bool divisible = UnitsOf(want).empty();
    for (const auto& [name, amount] : want) {
      if (amount <= 0) continue;
      const int64_t has = AmountOf(rest ? *rest : free, name);
      most = std::min(most, has <= 0 ? uint64_t{0} : static_cast<uint64_t>(has / amount));
    }
    if (most == 0) continue;
    if (kinds_.size() == 1 && divisible) return most;
    if (!rest) rest = free;
    uint64_t put = 0;
    for (; put < most && ReportFits(*rest, want); ++put) TakeFromReport(&*rest, want);
    sum += put;
  }
  return sum;
}

std::vector<uint32_t> Placing::StrictPack(uint32_t soft_node) {
  Amounts sum;
  std::vector<size_t> all;
  for (const Kind& k : kinds_) all.push_back(k.bundles.size());
  for (const WantedBundle& b : bundles_) Add(&sum, b.resources);
  const Spot* best = nullptr;
  double best_use = -1;
  for (size_t i = 0; i < spots_.size(); ++i) {
    const Spot& s = spots_[i];
    if (!Fits(s.free(), sum) || Takes(i, all) != bundles_.size()) continue;
    if (s.view->node == soft_node) return std::vector<uint32_t>(bundles_.size(), soft_node);
    if (const double use = s.use(); use > best_use) {
      best = &s;
      best_use = use;
    }
  }
  if (best == nullptr) return {};
  return std::vector<uint32_t>(bundles_.size(), best->view->node);
}

// Frees a node for one more bundle of this kind: along the shortest chain of bundles of other kinds that can
// each go elsewhere. `held`: the bundle on each node.
size_t Placing::FreeSpotFor(size_t kind, const std::vector<std::vector<bool>>& fits,
                            std::vector<size_t>* held) {
  std::vector<size_t> via(kinds_.size(), kNowhere);  // the node by which a kind was reached
  std::vector<size_t> from(kinds_.size(), kNowhere);
  std::vector<size_t> reached = {kind};
  std::vector<bool> seen(kinds_.size());
  seen[kind] = true;
  for (size_t i = 0; i < reached.size(); ++i) {
    const size_t k = reached[i];
    for (size_t s = 0; s < spots_.size(); ++s) {
      if (spots_[s].view->has != 0 || !fits[k][s]) continue;
      if ((*held)[s] != kNowhere) {
        const size_t other = kind_of_[(*held)[s]];
        if (seen[other]) continue;
        seen[other] = true;
        via[other] = s;
        from[other] = k;
        reached.push_back(other);
        continue;
      }
      size_t to = s;
      size_t moving = k;
      while (moving != kind) {  // the one on `via` goes to the free node; its own is free then
        const size_t bundle = (*held)[via[moving]];
        (*held)[to] = bundle;
        chosen_[bundle] = to;
        to = via[moving];
        moving = from[moving];
      }
      return to;
    }
  }
  return kNowhere;
}

std::vector<uint32_t> Placing::StrictSpread() {
  if (bundles_.size() > spots_.size()) return {};
  std::vector<size_t> held(spots_.size(), kNowhere);
  std::vector<std::vector<bool>> fits(kinds_.size(), std::vector<bool>(spots_.size()));
  for (size_t k = 0; k < kinds_.size(); ++k) {
    for (size_t s = 0; s < spots_.size(); ++s) fits[k][s] = spots_[s].view->has == 0 && FitsOn(k, s);
  }
  for (size_t k = 0; k < kinds_.size(); ++k) {
    std::vector<std::pair<double, size_t>> candidates;  // the fullest first
    for (size_t s = 0; s < spots_.size(); ++s) {
      if (fits[k][s] && held[s] == kNowhere) candidates.emplace_back(-spots_[s].use(), s);
    }
    std::sort(candidates.begin(), candidates.end());
    auto next = candidates.begin();
    for (const size_t bundle : kinds_[k].bundles) {
      while (next != candidates.end() && held[next->second] != kNowhere) ++next;
      size_t spot = kNowhere;
      if (next != candidates.end()) {
        spot = (next++)->second;
      } else {
        spot = FreeSpotFor(k, fits, &held);
        if (spot == kNowhere) return {};
      }
      held[spot] = bundle;
      chosen_[bundle] = spot;
    }
  }
  return Result();
}

std::vector<uint32_t> Placing::Pack() {
  std::vector<size_t> left;
  size_t missing = bundles_.size();
  for (const Kind& k : kinds_) left.push_back(k.bundles.size());
  struct Offer {
    bool begun = false;  // some of the group is there
    uint64_t takes = 0;
    double use = 0;
    size_t spot = 0;
    bool operator<(const Offer& o) const {
      return std::tie(begun, takes, use, o.spot) < std::tie(o.begun, o.takes, o.use, spot);
    }
  };
  std::vector<Offer> offers;
  for (size_t s = 0; s < spots_.size(); ++s) {
    const uint64_t takes = Takes(s, left);
    if (takes != 0) offers.push_back({spots_[s].bundles != 0, takes, spots_[s].use(), s});
  }
  std::priority_queue<Offer> heap(std::less<Offer>(), std::move(offers));
  while (missing != 0) {
    if (heap.empty()) return {};
    Offer best = heap.top();
    heap.pop();
    Spot& spot = spots_[best.spot];
    // As less is left, nodes can only take less than they did.
    if (const uint64_t takes = Takes(best.spot, left); takes != best.takes) {
      best.takes = takes;
      if (takes != 0) heap.push(best);
      continue;
    }
    for (size_t k = 0; k < kinds_.size(); ++k) {
      for (; left[k] != 0 && FitsOn(k, best.spot); --left[k], --missing) {
        spot.Put(kinds_[k].bundle->resources);
        chosen_[kinds_[k].bundles[left[k] - 1]] = best.spot;
      }
    }
  }
  return Result();
}

std::vector<uint32_t> Placing::Spread() {
  using Offer = std::tuple<uint32_t, double, size_t>;  // bundles there, use, spot: the least first
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    const Kind& k = kinds_[kind];
    std::priority_queue<Offer, std::vector<Offer>, std::greater<>> heap;
    for (size_t s = 0; s < spots_.size(); ++s) {
      if (FitsOn(kind, s)) heap.emplace(spots_[s].bundles, spots_[s].use(), s);
    }
    for (const size_t bundle : k.bundles) {
      if (heap.empty()) return {};
      const size_t s = std::get<2>(heap.top());
      heap.pop();
      spots_[s].Put(k.bundle->resources);
      chosen_[bundle] = s;
      if (FitsOn(kind, s)) heap.emplace(spots_[s].bundles, spots_[s].use(), s);
    }
  }
  return Result();
}

bool Placing::SearchFrom(size_t depth, const std::vector<size_t>& order) {
  if (depth == order.size()) return true;
  const size_t kind = kind_of_[order[depth]];
  for (size_t s = 0; s < spots_.size(); ++s) {
    if (++steps_ > kMostSteps) return false;
    if (!FitsOn(kind, s)) continue;
    const Spot before = spots_[s];
    spots_[s].Put(bundles_[order[depth]].resources);
    chosen_[order[depth]] = s;
    if (SearchFrom(depth + 1, order)) return true;
    spots_[s] = before;
  }
  return false;
}

std::vector<uint32_t> Placing::Search() {
  if (bundles_.size() * spots_.size() > kSearched) return {};
  std::vector<size_t> order;
  for (const Kind& k : kinds_) order.insert(order.end(), k.bundles.begin(), k.bundles.end());
  return SearchFrom(0, order) ? Result() : std::vector<uint32_t>{};
}

}  // namespace

std::vector<uint32_t> PlaceBundles(const std::vector<PlacementNode>& nodes,
                                   const std::vector<WantedBundle>& bundles, GroupStrategy strategy,
                                   uint32_t soft_node) {
  if (strategy == GroupStrategy::kStrictPack) return Placing(nodes, bundles).StrictPack(soft_node);
  if (strategy == GroupStrategy::kStrictSpread) return Placing(nodes, bundles).StrictSpread();
  Placing placing(nodes, bundles);
  auto found = strategy == GroupStrategy::kPack ? placing.Pack() : placing.Spread();
  return found.empty() ? Placing(nodes, bundles).Search() : found;
}

}  // namespace rmpi::sched
