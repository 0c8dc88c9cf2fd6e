// Scores a cache-sized block of rows for a few queries, then offers the scores to one bounded heap a query.
#include "engines/exact_search.hpp"

#include <algorithm>
#include <future>
#include <limits>
#include <vector>

#include "engines/aligned.hpp"
#include "kernels/exact_search.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::size_t kRowMultiple = 6;         // what the kernels take at once
constexpr std::size_t kMaxBlockRows = 126;      // with 64 queries the scores of a block are 32 KiB
constexpr std::size_t kBlockFloats = 48 << 10;  // of rows: 192 KiB; this block and the next one stay in L2
constexpr std::size_t kBlockQueries = 64;

std::size_t block_rows(std::size_t dim) {
    const std::size_t rows = kBlockFloats / std::max<std::size_t>(1, dim) / kRowMultiple * kRowMultiple;
    return std::clamp(rows, kRowMultiple, kMaxBlockRows);
}

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

    // Scores of n rows: rows[i], or first_row + i when `rows` is null.
    void offer_all(const float* scores, const std::int64_t* rows, std::size_t first_row, std::size_t n) {
        std::size_t i = 0;
        const auto offer_one = [&] {
            offer({scores[i], rows ? rows[i] : static_cast<std::int64_t>(first_row + i)});
            ++i;
        };
        while (i < n && heap_.size() < k_) offer_one();
        while ((i = kernels::next_not_below(scores, i, n, heap_.front().score)) < n) offer_one();
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
    const std::size_t max_rows = block_rows(s.dim);
    std::vector<float> scores(max_rows * std::min(kBlockQueries, s.num_queries));
    const AlignedBuffer<float> queries(s.num_queries * s.dim);  // a vector that straddles two cache lines loads slower
    std::copy_n(s.queries, s.num_queries * s.dim, queries.data());
    for (std::size_t begin = first; begin < last; begin += max_rows) {
        const std::size_t size = std::min(max_rows, last - begin), ahead = std::min(max_rows, last - begin - size);
        const float* vectors = s.rows ? s.vectors : s.vectors + begin * s.dim;
        const std::int64_t* rows = s.rows ? s.rows + begin : nullptr;
        for (std::size_t q0 = 0; q0 < s.num_queries; q0 += kBlockQueries) {
            const std::size_t num_queries = std::min(kBlockQueries, s.num_queries - q0);
            kernels::inner_products(vectors, rows, size, ahead, queries.data() + q0 * s.dim, num_queries, s.dim,
                                    scores.data());
            for (std::size_t q = 0; q < num_queries; ++q) {
                best[q0 + q].offer_all(scores.data() + q * size, rows, begin, size);
            }
        }
    }
    return best;
}

}  // namespace

void exact_search(const ExactSearch& search, std::size_t num_threads, std::int64_t* labels, float* scores) {
    const std::size_t max_rows = block_rows(search.dim), num_blocks = (search.num_rows + max_rows - 1) / max_rows;
    const std::size_t num_parts = std::clamp<std::size_t>(num_threads, 1, num_blocks);
    const auto part_start = [&](std::size_t part) {
        return std::min(search.num_rows, part * num_blocks / num_parts * max_rows);
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
