#include "engines/bm25.hpp"

#include <algorithm>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <unordered_set>

#include "engines/bm25_search.hpp"
#include "engines/bm25_snapshot.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::size_t kAddedAtOnce = 256;  // documents added (about 1 ms) between two chances for searches to get in
constexpr std::size_t kDeadShare = 4;      // one dead row in so many is worth a new corpus
constexpr std::size_t kDeadRows = 1024;    // fewer are not

std::string named(std::size_t i, std::int64_t id) { return "ids[" + std::to_string(i) + "] = " + std::to_string(id); }

}  // namespace

using bm25::Corpus;
using bm25::kNone;

Bm25::Bm25(double k1, double b) : k1_(k1), b_(b), corpus_(std::make_unique<Corpus>(k1, b)) {}

void Bm25::add(const Documents& documents) {
    const std::lock_guard turn(writer_);
    std::unordered_set<std::int64_t> seen(documents.size);
    for (std::size_t i = 0; i < documents.size; ++i) {
        if (corpus_->row_of(documents.ids[i]) != kNone || !seen.insert(documents.ids[i]).second) {
            throw std::invalid_argument("ids must be new and differ (" + named(i, documents.ids[i]) + ")");
        }
    }
    if (corpus_->num_rows() + documents.size > bm25::kMaxRows) compact();
    if (corpus_->num_rows() + documents.size > bm25::kMaxRows) {
        throw std::invalid_argument("ids must be at most " + std::to_string(bm25::kMaxRows) + " in all (" +
                                    std::to_string(corpus_->num_rows() + documents.size) + ")");
    }
    for (std::size_t i = 0; i < documents.size; i += kAddedAtOnce) {
        const std::size_t size = std::min(kAddedAtOnce, documents.size - i);
        const std::unique_lock writing(lock_);
        corpus_->add({documents.ids + i, documents.terms, documents.starts + i, size});
        corpus_->settle();
    }
}

void Bm25::remove(const std::int64_t* ids, std::size_t size) {
    const std::lock_guard turn(writer_);
    std::vector<std::uint32_t> rows(size);
    std::unordered_set<std::int64_t> seen(size);
    for (std::size_t i = 0; i < size; ++i) {
        rows[i] = corpus_->row_of(ids[i]);
        if (rows[i] == kNone || !seen.insert(ids[i]).second) {
            throw std::invalid_argument("ids must be in the index and differ (" + named(i, ids[i]) + ")");
        }
    }
    {
        const std::unique_lock writing(lock_);
        for (const std::uint32_t row : rows) corpus_->remove(row);
        corpus_->settle();
    }
    const std::size_t dead = corpus_->num_rows() - corpus_->num_living();
    if (dead >= kDeadRows && dead * kDeadShare >= corpus_->num_rows()) compact();
}

// Searches go on in the old corpus until the new one is there.
void Bm25::compact() {
    auto compacted = std::make_unique<Corpus>(k1_, b_, corpus_->pack());
    const std::unique_lock writing(lock_);
    corpus_.swap(compacted);
}

Bm25::Found Bm25::search(const std::uint64_t* query, std::size_t query_size, std::size_t k, const std::int64_t* among,
                         std::size_t among_size) const {
    const std::shared_lock reading(lock_);
    if (among == nullptr) return bm25::search(*corpus_, query, query_size, k, nullptr);
    std::vector<std::uint32_t> rows;
    rows.reserve(among_size);
    for (std::size_t i = 0; i < among_size; ++i) {
        const std::uint32_t row = corpus_->row_of(among[i]);
        if (row != kNone) rows.push_back(row);
    }
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return bm25::search(*corpus_, query, query_size, k, &rows);
}

std::vector<float> Bm25::scores_of(const std::uint64_t* query, std::size_t query_size,
                                   const Documents& documents) const {
    const std::shared_lock reading(lock_);
    return bm25::scores_of(*corpus_, query, query_size, documents);
}

std::vector<std::int64_t> Bm25::ids() const {
    const std::shared_lock reading(lock_);
    std::vector<std::int64_t> ids;
    ids.reserve(corpus_->num_living());
    for (std::uint32_t row = 0; row < corpus_->num_rows(); ++row) {
        if (corpus_->is_living(row)) ids.push_back(corpus_->id_of(row));
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

void Bm25::contains(const std::int64_t* ids, std::size_t size, bool* found) const {
    const std::shared_lock reading(lock_);
    for (std::size_t i = 0; i < size; ++i) found[i] = corpus_->row_of(ids[i]) != kNone;
}

Bm25::Size Bm25::size() const {
    const std::shared_lock reading(lock_);
    return {corpus_->num_living(), corpus_->num_postings(), corpus_->allocated_bytes()};
}

std::string Bm25::snapshot() const {
    const std::shared_lock reading(lock_);
    return bm25::to_bytes(corpus_->pack());
}

void Bm25::restore(std::string_view snapshot) {
    const std::lock_guard turn(writer_);
    auto restored = std::make_unique<Corpus>(k1_, b_, bm25::from_bytes(snapshot));
    const std::unique_lock writing(lock_);
    corpus_.swap(restored);
}

}  // namespace ruvllm::engines
