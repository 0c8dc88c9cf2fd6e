// BM25 ranking over documents that come and go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engines/bm25_corpus.hpp"
#include "engines/readers_writer_lock.hpp"

namespace ruvllm::engines {

// A document's score is the sum over the terms of the query, each as often as it stands there, of
//   idf * tf (k1 + 1) / (tf + k1 (1 - b + b length / average length)),   idf = log(1 + (N - df + 0.5) / (df + 0.5)),
// with N, df and the average of the living documents (Robertson and Zaragoza 2009, with Lucene's idf, which is never
// negative). Terms are added in one order, rarest first, in float32: pruning, filters, threads and the instruction set
// change no bit of a score.
//
// Safe from several threads: searches run side by side, a change waits for those that run and goes before those that
// come. What is refused throws std::invalid_argument and changes nothing; after std::bad_alloc the index is of no use.
class Bm25 {
  public:
    using Documents = bm25::Documents;
    struct Found {
        std::vector<std::int64_t> ids;
        std::vector<float> scores;
    };
    struct Size {
        std::size_t documents, postings, bytes;
    };

    Bm25(double k1, double b);  // k1 >= 0, 0 <= b <= 1

    // Adds documents; a search beside it may see the first of them only. Refused: an id that is here, or twice.
    void add(const Documents& documents);

    // Removes documents; the statistics are those of the rest at once. Refused: an id that is not here, or twice.
    void remove(const std::int64_t* ids, std::size_t size);

    // The k best documents that hold a term of the query, best first; of equal scores the lower id comes first.
    // `among`: the only ids that may come back, in any order (ids that are not here are passed over); null: all.
    Found search(const std::uint64_t* query, std::size_t query_size, std::size_t k, const std::int64_t* among,
                 std::size_t among_size) const;

    // The scores that documents outside the index have under its statistics, df being 0 for a term that only they hold;
    // their ids are not looked at.
    std::vector<float> scores_of(const std::uint64_t* query, std::size_t query_size, const Documents& documents) const;

    std::vector<std::int64_t> ids() const;  // ascending
    void contains(const std::int64_t* ids, std::size_t size, bool* found) const;
    Size size() const;

    // The documents as bytes, and back: `restore` takes the place of all that is here. Refused: damage of any kind.
    std::string snapshot() const;
    void restore(std::string_view snapshot);

  private:
    void compact();

    double k1_, b_;
    std::unique_ptr<bm25::Corpus> corpus_;
    std::mutex writer_;               // one writer at a time, for a whole change: it may read without the lock
    mutable ReadersWriterLock lock_;  // taken shared to read, exclusively while the corpus changes
};

}  // namespace ruvllm::engines
