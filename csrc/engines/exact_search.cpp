// Scores a cache-sized block of rows for a few queries, then offers the scores to one bounded heap a query.
#include "engines/exact_search.hpp"

#include <algorithm>
#include <future>
#include <limits>
#include <vector>

#include "kernels/exact_search.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::size_t kBlockRows = 256;    // at 384 dimensions a block is 384 KiB: it stays in L2 for all queries
constexpr std::size_t kBlockQueries = 64;  // bounds the scores of one block to 64 KiB

struct Candidate {
    float score;
    std::int64_t row;
};

// A total order, so that the best k do not depend on the order in which rows are seen.
bool is_better(const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

// The best k candidates so far, the worst of them on top.
class TopK {
  public:
    explicit TopK(std::size_t k) : k_(k) { heap_.reserve(k); }

    void offer(Candidate candidate) {
        if (candidate.score != candidate.score) candidate.score = -std::numeric_limits<float>::infinity();
        if (heap_.size() == k_) {
            if (!is_better(candidate, heap_.front())) return;
            std::pop_heap(heap_.begin(), heap_.end(), is_better);
            heap_.back() = candidate;
        } else {
            heap_.push_back(candidate);
        }
        std::push_heap(heap_.begin(), heap_.end(), is_better);
    }

    void offer_all(const TopK& other) {
        for (const Candidate& candidate : other.heap_) offer(candidate);
    }

    void write_sorted(std::int64_t* labels, float* scores) {
        std::sort_heap(heap_.begin(), heap_.end(), is_better);
        for (const Candidate& candidate : heap_) {
            *labels++ = candidate.row;
            *scores++ = candidate.score;
        }
    }

  private:
    std::size_t k_;
    std::vector<Candidate> heap_;
};

std::vector<TopK> heaps(std::size_t count, std::size_t k) {
    std::vector<TopK> all;
    all.reserve(count);
    for (std::size_t i = 0; i < count; ++i) all.emplace_back(k);
    return all;
}

// The best of rows [first, last), one TopK a query.
std::vector<TopK> search_rows(const ExactSearch& s, std::size_t first, std::size_t last) {
    std::vector<TopK> best = heaps(s.num_queries, std::min(s.k, last - first));
    std::vector<float> scores(kBlockRows * std::min(kBlockQueries, s.num_queries));
    for (std::size_t begin = first; begin < last; begin += kBlockRows) {
        const std::size_t size = std::min(kBlockRows, last - begin);
        const float* vectors = s.rows ? s.vectors : s.vectors + begin * s.dim;
        const std::int64_t* rows = s.rows ? s.rows + begin : nullptr;
        for (std::size_t q0 = 0; q0 < s.num_queries; q0 += kBlockQueries) {
            const std::size_t num_queries = std::min(kBlockQueries, s.num_queries - q0);
            kernels::inner_products(vectors, rows, size, s.queries + q0 * s.dim, num_queries, s.dim, scores.data());
            for (std::size_t q = 0; q < num_queries; ++q) {
                for (std::size_t i = 0; i < size; ++i) {
                    const std::int64_t row = rows ? rows[i] : static_cast<std::int64_t>(begin + i);
                    best[q0 + q].offer({scores[q * size + i], row});
                }
            }
        }
    }
    return best;
}

}  // namespace

void exact_search(const ExactSearch& search, std::size_t num_threads, std::int64_t* labels, float* scores) {
    const std::size_t num_blocks = (search.num_rows + kBlockRows - 1) / kBlockRows;
    const std::size_t num_parts = std::clamp<std::size_t>(num_threads, 1, num_blocks);
    const auto part_start = [&](std::size_t part) {
        return std::min(search.num_rows, part * num_blocks / num_parts * kBlockRows);
    };
    std::vector<std::future<std::vector<TopK>>> parts;  // each waits for its thread when destroyed
    for (std::size_t part = 1; part < num_parts; ++part) {
        parts.push_back(std::async(std::launch::async, search_rows, std::cref(search), part_start(part),
                                   part_start(part + 1)));
    }
    std::vector<TopK> best = heaps(search.num_queries, search.k);
    const auto merge = [&](const std::vector<TopK>& part) {
        for (std::size_t q = 0; q < best.size(); ++q) best[q].offer_all(part[q]);
    };
    merge(search_rows(search, 0, part_start(1)));
    for (auto& part : parts) merge(part.get());
    for (std::size_t q = 0; q < best.size(); ++q) {
        best[q].write_sorted(labels + q * search.k, scores + q * search.k);
    }
}

}  // namespace ruvllm::engines
