// Windows of rows, one after another. Within one, the terms that could lift a document among the best by themselves are
// added up for all rows; what then can still get there, at most, is completed with the others. That is MaxScore (Turtle
// and Flood 1995) with bounds of windows and blocks (Ding and Suel 2011), a term at a time.
#include "engines/bm25_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engines/top_k.hpp"
#include "kernels/bm25.hpp"

namespace ruvllm::engines::bm25 {
namespace {

constexpr float kSmallest = std::numeric_limits<float>::min();  // a score below it is none
constexpr std::size_t kLookupCost = 8;  // of one row in a list, in postings added up

struct QueryTerm {
    std::uint64_t hash;
    const Term* term;  // null when no document of the index holds it
    float weight;
    Slice slice = {};        // of the window
    std::size_t cursor = 0;  // where it ends
};

// The terms of a query in the order in which scores are added up: heaviest, that is rarest, first: bounds shrink fast.
std::vector<QueryTerm> weighted(const Corpus& corpus, const std::uint64_t* query, std::size_t query_size) {
    std::vector<std::uint64_t> hashes(query, query + query_size);
    std::sort(hashes.begin(), hashes.end());
    std::vector<QueryTerm> terms;
    for (std::size_t i = 0, end = 0; i < hashes.size(); i = end) {
        while (end < hashes.size() && hashes[end] == hashes[i]) ++end;
        const Term* term = corpus.find(hashes[i]);
        const double idf = corpus.idf(term != nullptr ? term->df : 0);
        const double weight = static_cast<double>(end - i) * idf * (corpus.k1() + 1.0);
        terms.push_back({hashes[i], term, static_cast<float>(weight)});
    }
    std::sort(terms.begin(), terms.end(), [](const QueryTerm& a, const QueryTerm& b) {
        return a.weight > b.weight || (a.weight == b.weight && a.hash < b.hash);
    });
    return terms;
}

class Search {
  public:
    Search(const Corpus& corpus, std::vector<QueryTerm> terms, std::size_t k, const std::vector<std::uint32_t>* rows)
        : corpus_(corpus), terms_(std::move(terms)), best_(k), rows_(rows),
          norm_(corpus.norm()), bounds_(terms_.size() + 1) {
        // A computed sum of n rounded terms exceeds the exact one by a factor of at most (1 + eps)^n; bounds are
        // rounded too, hence the few more, and twice as much.
        slack_ = 1.0 + 2.0 * static_cast<double>(terms_.size() + 16) * std::numeric_limits<float>::epsilon();
    }

    Bm25::Found run() {
        for (std::uint32_t first = 0; first < corpus_.num_rows(); first += kWindowRows) search_window(first);
        Bm25::Found found;
        for (const Candidate& candidate : best_.sort()) {
            found.ids.push_back(candidate.id);
            found.scores.push_back(candidate.score);
        }
        return found;
    }

  private:
    void search_window(std::uint32_t first) {
        first_ = first;
        size_ = std::min<std::size_t>(kWindowRows, corpus_.num_rows() - first);
        if (rows_ != nullptr && !take_allowed()) return;
        bound_window();
        std::size_t num_added = 0;  // terms that are added for every row
        while (num_added < terms_.size() && bounds_[num_added] >= needed()) ++num_added;
        if (num_added == 0) return;
        std::fill_n(scores_, size_, 0.0f);
        if (rows_ != nullptr && is_cheaper_by_row()) {
            num_added = 0;
            num_candidates_ = num_allowed_;
            std::copy_n(allowed_, num_allowed_, candidates_);
        } else {
            for (std::size_t t = 0; t < num_added; ++t) add_to_all(terms_[t]);
            num_candidates_ = kernels::rows_at_least(scores_, size_, still_needed(num_added), candidates_);
            if (rows_ != nullptr) keep_allowed();
        }
        for (std::size_t t = num_added; t < terms_.size() && num_candidates_ > 0; ++t) {
            add_to_candidates(terms_[t]);
            drop_below(still_needed(t + 1));
        }
        for (std::size_t i = 0; i < num_candidates_; ++i) offer(candidates_[i]);
    }

    // Finds each term's postings in the window, and bounds_[t]: what the terms from t on can add to a document.
    void bound_window() {
        const float factor = corpus_.bound_factor();
        float bound = 0.0f;
        for (std::size_t t = terms_.size(); t-- > 0;) {
            QueryTerm& q = terms_[t];
            q.slice = q.term->postings.window(first_, q.cursor);
            if (q.slice.tfs != nullptr) q.slice.size = std::min(q.slice.size, size_);
            bound += q.weight * std::min(q.slice.impact * factor, 1.0f);
            bounds_[t] = bound;
        }
    }

    // The score that a document must have at least to come back, bounds being rounded; ties count, their id decides.
    float needed() const {
        if (!best_.is_full()) return kSmallest;
        return std::max(kSmallest, static_cast<float>(best_.worst().score / slack_));
    }

    // The same when the terms before t are added up; above 0 where the others alone are not enough.
    float still_needed(std::size_t t) const { return needed() - bounds_[t]; }

    void add_to_all(const QueryTerm& q) {
        const Slice& slice = q.slice;
        if (slice.size == 0) return;
        if (q.term->has_large) {
            for (std::size_t i = 0; i < slice.size; ++i) {
                if (slice.tfs != nullptr) {
                    add(q, first_ + static_cast<std::uint32_t>(i), slice.tfs[i]);
                } else {
                    add(q, slice.list[i] >> kernels::kTfBits, slice.list[i] & kLargeTf);
                }
            }
        } else if (slice.tfs != nullptr) {
            kernels::add_dense_scores(slice.tfs, corpus_.lengths() + first_, slice.size, q.weight, norm_, scores_);
        } else {
            kernels::add_sparse_scores(slice.list, slice.size, corpus_.lengths(), first_, q.weight, norm_, scores_);
        }
    }

    void add_to_candidates(const QueryTerm& q) {
        const Slice& slice = q.slice;
        if (slice.tfs != nullptr) {
            for (std::size_t i = 0; i < num_candidates_; ++i) {
                if (candidates_[i] < slice.size) add(q, first_ + candidates_[i], slice.tfs[candidates_[i]]);
            }
        } else if (num_candidates_ * kLookupCost > slice.size) {
            add_to_all(q);
        } else {
            const std::uint32_t *from = slice.list, *end = from + slice.size;
            for (std::size_t i = 0; i < num_candidates_ && from != end; ++i) {
                const std::uint32_t row = first_ + candidates_[i];
                from = std::lower_bound(from, end, row << kernels::kTfBits);
                if (from != end && *from >> kernels::kTfBits == row) add(q, row, *from & kLargeTf);
            }
        }
    }

    void add(const QueryTerm& q, std::uint32_t row, std::uint32_t tf) {
        if (tf == 0 || !corpus_.is_living(row)) return;
        if (tf == kLargeTf) tf = corpus_.large_tf(*q.term, row);
        scores_[row - first_] += kernels::bm25_score(q.weight, static_cast<float>(tf), norm_(corpus_.lengths()[row]));
    }

    // -- the rows that may come back

    // Fills allowed_ with those of the window, relative to it; false when there are none.
    bool take_allowed() {
        const auto begin = std::lower_bound(rows_->begin() + static_cast<std::ptrdiff_t>(next_), rows_->end(), first_);
        const auto end = std::lower_bound(begin, rows_->end(), first_ + static_cast<std::uint32_t>(size_));
        next_ = static_cast<std::size_t>(end - rows_->begin());
        num_allowed_ = static_cast<std::size_t>(end - begin);
        std::transform(begin, end, allowed_, [this](std::uint32_t row) { return row - first_; });
        return num_allowed_ > 0;
    }

    bool is_cheaper_by_row() const {
        std::size_t num_postings = 0;
        for (const QueryTerm& q : terms_) num_postings += q.slice.size;
        return num_allowed_ * terms_.size() * kLookupCost < num_postings;
    }

    void keep_allowed() {
        std::size_t kept = 0, a = 0;
        for (std::size_t i = 0; i < num_candidates_; ++i) {
            while (a < num_allowed_ && allowed_[a] < candidates_[i]) ++a;
            if (a < num_allowed_ && allowed_[a] == candidates_[i]) candidates_[kept++] = candidates_[i];
        }
        num_candidates_ = kept;
    }

    // -- the best so far

    void drop_below(float at_least) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < num_candidates_; ++i) {
            candidates_[kept] = candidates_[i];
            kept += scores_[candidates_[i]] >= at_least;
        }
        num_candidates_ = kept;
    }

    void offer(std::uint32_t i) {
        if (scores_[i] >= kSmallest) best_.offer({scores_[i], corpus_.id_of(first_ + i)});
    }

    const Corpus& corpus_;
    std::vector<QueryTerm> terms_;
    TopK best_;
    const std::vector<std::uint32_t>* rows_;
    kernels::LengthNorm norm_;
    std::vector<float> bounds_;
    double slack_;
    std::uint32_t first_ = 0;  // row of the window
    std::size_t size_ = 0;     // rows of the window
    std::size_t next_ = 0;     // of rows_
    std::size_t num_candidates_ = 0, num_allowed_ = 0;
    float scores_[kWindowRows];               // of the window
    std::uint32_t candidates_[kWindowRows];  // rows of the window, ascending, like the next
    std::uint32_t allowed_[kWindowRows];
};

}  // namespace

Bm25::Found search(const Corpus& corpus, const std::uint64_t* query, std::size_t query_size, std::size_t k,
                   const std::vector<std::uint32_t>* rows) {
    k = std::min(k, rows != nullptr ? rows->size() : corpus.num_living());
    std::vector<QueryTerm> terms = weighted(corpus, query, query_size);
    std::erase_if(terms, [](const QueryTerm& q) { return q.term == nullptr; });
    if (k == 0 || terms.empty()) return {};
    return Search(corpus, std::move(terms), k, rows).run();
}

std::vector<float> scores_of(const Corpus& corpus, const std::uint64_t* query, std::size_t query_size,
                             const Documents& documents) {
    const std::vector<QueryTerm> terms = weighted(corpus, query, query_size);
    std::vector<float> scores(documents.size);
    for (std::size_t i = 0; i < documents.size; ++i) {
        const std::uint64_t* begin = documents.terms + documents.starts[i];
        const std::uint64_t* end = documents.terms + documents.starts[i + 1];
        const float norm = corpus.norm()(static_cast<float>(end - begin));
        for (const QueryTerm& q : terms) {
            const auto tf = std::count(begin, end, q.hash);
            if (tf > 0) scores[i] += kernels::bm25_score(q.weight, static_cast<float>(tf), norm);
        }
    }
    return scores;
}

}  // namespace ruvllm::engines::bm25
