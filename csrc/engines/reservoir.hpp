// A bounded random sample of a stream: which items to keep, and where. It holds item numbers, never the items.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engines/random.hpp"

namespace ruvllm::engines {

// Items arrive one after another, numbered from 0, each with a class label and, in a weighted reservoir, a weight.
// How the capacity is shared among the classes: a class holds every item it has seen until the reservoir is full; then a
// class that holds fewer than the largest one takes a slot from it, and a class that holds as many starts to sample
// within its own slots. So rare classes are kept whole and the others hold equal shares, up to one slot, of what is left.
// Within a class every item is kept with the same probability, by Algorithm L (Li 1994), or, weighted, as if items were
// drawn one by one without replacement with probability proportional to weight: exponential jumps (Efraimidis and
// Spirakis 2006, A-ExpJ). A class that loses a slot loses a random item, or, weighted, the one with the least key, so
// what remains is the sample that a smaller reservoir would hold.
// One call at a time: the owner sees to that.
class Reservoir {
  public:
    static constexpr std::int64_t kNone = -1;
    static constexpr std::uint64_t kMaxCapacity = 0x7fffffffu;

    // 1 <= capacity <= kMaxCapacity
    Reservoir(std::size_t capacity, bool is_weighted, std::uint64_t seed);

    // Puts the next item into the returned slot, in [0, capacity), in the place of the one there; or nowhere: kNone.
    // `weight` is finite and above 0, and 1 in a reservoir without weights. Throws std::invalid_argument, with nothing
    // changed, when the label would be one class more than there are slots.
    std::int64_t add(std::int64_t label, double weight);

    struct Batch {
        std::vector<std::int64_t> kept;   // places in the batch, ascending
        std::vector<std::int64_t> slots;  // where each of them is now, no slot twice
    };
    // The next `n` items as if added one by one; null labels: class 0; null weights: 1. Throws as add() does.
    Batch add_many(std::size_t n, const std::int64_t* labels, const double* weights);

    std::size_t capacity() const { return capacity_; }
    bool is_weighted() const { return is_weighted_; }
    std::size_t size() const { return items_.size(); }  // filled slots
    std::uint64_t num_seen() const { return num_seen_; }

    // The number of the item in each filled slot; slots fill in order.
    const std::vector<std::int64_t>& items() const { return items_; }
    // Label and number of slots of each class, in order of appearance.
    std::vector<std::pair<std::int64_t, std::size_t>> classes() const;

    // Everything that is needed to go on to the same numbers, and back; throws std::invalid_argument when damaged.
    std::string snapshot() const;
    explicit Reservoir(std::string_view snapshot);

  private:
    struct Keyed {
        double key;  // log(u) / weight of Efraimidis and Spirakis; the largest keys are the sample
        std::uint32_t slot;
        static bool has_larger_key(const Keyed& a, const Keyed& b) { return a.key > b.key; }
    };
    struct Stratum {
        std::int64_t label;
        bool is_sampled = false;           // false: holds every item it has seen
        double log_w = 0.0;                // Algorithm L's w: the probability that the next item is kept
        double skip = 0.0;                 // what is passed over before the next one kept: items, or weight
        std::vector<std::uint32_t> slots;  // without weights
        std::vector<Keyed> heap;           // with weights, the least key on top
        std::size_t size() const { return slots.size() + heap.size(); }
    };

    std::size_t find_or_add(std::int64_t label);
    void drop_strata(std::size_t first);
    Stratum& largest();
    std::int64_t place(Stratum& s, double weight);
    std::uint64_t pass_over(Stratum& s, std::uint64_t limit);
    void hold(Stratum& s, std::uint32_t slot, double weight);
    void start_sampling(Stratum& s);
    void draw_skip(Stratum& s);
    bool is_passed_over(Stratum& s, double weight) const;
    std::uint32_t replace(Stratum& s, double weight);
    std::uint32_t give_up_slot(Stratum& s);

    std::size_t capacity_;
    bool is_weighted_;
    Random random_;
    std::uint64_t num_seen_ = 0;
    std::vector<std::int64_t> items_;
    std::vector<Stratum> strata_;
    std::unordered_map<std::int64_t, std::size_t> stratum_of_;  // label -> place in strata_
    std::size_t last_stratum_ = 0;                              // where find_or_add looks first
};

}  // namespace ruvllm::engines
