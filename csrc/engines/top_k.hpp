// The best k of many scored candidates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ruvllm::engines {

// A score, which is not a NaN, and whose it is.
struct Candidate {
    float score;
    std::int64_t id;

    // A total order, lower ids first among equal scores, so that the best k do not depend on the order of their coming.
    static bool is_better(const Candidate& a, const Candidate& b) {
        return a.score > b.score || (a.score == b.score && a.id < b.id);
    }
};

// The best k candidates so far, k >= 1, the worst of them on top of a heap.
class TopK {
  public:
    explicit TopK(std::size_t k) : k_(k) { heap_.reserve(k); }

    bool is_full() const { return heap_.size() == k_; }
    const Candidate& worst() const { return heap_.front(); }

    void offer(const Candidate& candidate) {
        if (is_full()) {
            if (!Candidate::is_better(candidate, worst())) return;
            std::pop_heap(heap_.begin(), heap_.end(), Candidate::is_better);
            heap_.back() = candidate;
        } else {
            heap_.push_back(candidate);
        }
        std::push_heap(heap_.begin(), heap_.end(), Candidate::is_better);
    }

    void offer(const TopK& other) {
        for (const Candidate& candidate : other.heap_) offer(candidate);
    }

    // Best first; afterwards nothing may be offered.
    const std::vector<Candidate>& sort() {
        std::sort_heap(heap_.begin(), heap_.end(), Candidate::is_better);
        return heap_;
    }

  private:
    std::size_t k_;
    std::vector<Candidate> heap_;
};

}  // namespace ruvllm::engines
