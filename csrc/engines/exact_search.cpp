// Scores a cache-sized block of rows for a few queries, then offers the scores to one bounded heap a query.
#include "engines/exact_search.hpp"

#include <algorithm>
#include <cmath>
#include <future>
#include <limits>
#include <vector>

#include "engines/aligned.hpp"
#include "engines/top_k.hpp"
#include "kernels/exact_search.hpp"
#include "kernels/half.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::size_t kRowMultiple = 6;         // what the kernels take at once
constexpr std::size_t kMaxBlockRows = 126;      // with 64 queries the scores of a block are 32 KiB
constexpr std::size_t kBlockFloats = 48 << 10;  // of rows: 192 KiB; this block and the next one stay in L2
constexpr std::size_t kBlockQueries = 64;
constexpr std::size_t kMaxThreads = 256;  // more gain nothing, and systems refuse thousands

std::size_t block_rows(std::size_t dim) {
    const std::size_t rows = kBlockFloats / std::max<std::size_t>(1, dim) / kRowMultiple * kRowMultiple;
    return std::clamp(rows, kRowMultiple, kMaxBlockRows);
}

// Offers the scores of n rows: rows[i], or first_row + i when `rows` is null. A NaN counts as minus infinity.
void offer_all(TopK& best, const float* scores, const std::int64_t* rows, std::size_t first_row, std::size_t n) {
    std::size_t i = 0;
    const auto offer_one = [&] {
        const float score = std::isnan(scores[i]) ? -std::numeric_limits<float>::infinity() : scores[i];
        best.offer({score, rows ? rows[i] : static_cast<std::int64_t>(first_row + i)});
        ++i;
    };
    while (i < n && !best.is_full()) offer_one();
    while ((i = kernels::next_not_below(scores, i, n, best.worst().score)) < n) offer_one();
}

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
    const AlignedBuffer<float> widened(s.halves ? max_rows * s.dim : 0);
    for (std::size_t begin = first; begin < last; begin += max_rows) {
        const std::size_t size = std::min(max_rows, last - begin);
        const std::int64_t* labels = s.rows ? s.rows + begin : nullptr;
        const std::int64_t* rows = s.halves ? nullptr : labels;
        const std::size_t ahead = s.halves ? 0 : std::min(max_rows, last - begin - size);
        const float* vectors = s.halves ? widened.data() : s.rows ? s.vectors : s.vectors + begin * s.dim;
        if (s.halves) {
            const std::uint16_t* halves = s.rows ? s.halves : s.halves + begin * s.dim;
            kernels::widen_rows(halves, labels, size, s.dim, widened.data());
        }
        for (std::size_t q0 = 0; q0 < s.num_queries; q0 += kBlockQueries) {
            const std::size_t num_queries = std::min(kBlockQueries, s.num_queries - q0);
            kernels::inner_products(vectors, rows, size, ahead, queries.data() + q0 * s.dim, num_queries, s.dim,
                                    scores.data());
            for (std::size_t q = 0; q < num_queries; ++q) {
                offer_all(best[q0 + q], scores.data() + q * size, labels, begin, size);
            }
        }
    }
    return best;
}

}  // namespace

void exact_search(const ExactSearch& search, std::size_t num_threads, std::int64_t* labels, float* scores) {
    const std::size_t max_rows = block_rows(search.dim), num_blocks = (search.num_rows + max_rows - 1) / max_rows;
    const std::size_t num_parts = std::clamp<std::size_t>(std::min(num_threads, kMaxThreads), 1, num_blocks);
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
        for (std::size_t q = 0; q < best.size(); ++q) best[q].offer(part[q]);
    };
    merge(search_rows(search, 0, part_start(1)));
    for (auto& part : parts) merge(part.get());
    for (std::size_t q = 0; q < best.size(); ++q) {
        for (const Candidate& candidate : best[q].sort()) {
            *labels++ = candidate.id;
            *scores++ = candidate.score;
        }
    }
}

}  // namespace ruvllm::engines
