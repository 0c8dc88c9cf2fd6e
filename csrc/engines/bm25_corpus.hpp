// What a BM25 index knows: documents as rows, terms with their postings, and the statistics of both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include "engines/bm25_postings.hpp"

namespace ruvllm::engines::bm25 {

inline constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

// Documents: those of document i are terms[starts[i] .. starts[i + 1]), hashes with repeats. Nothing is owned.
struct Documents {
    const std::int64_t* ids;     // (size,)
    const std::uint64_t* terms;  // (starts[size],)
    const std::int64_t* starts;  // (size + 1,)
    std::size_t size;
};

// The living documents as they are saved: each a list of (number of the term, count), packed by `pack`.
struct Packed {
    std::vector<std::uint64_t> hashes;  // of the terms, by number
    std::vector<std::int64_t> ids;
    std::vector<std::uint32_t> sizes;  // bytes of each document
    std::vector<std::uint8_t> bytes;
};

// 64-bit key -> 32-bit value by open addressing; the keys themselves are kept elsewhere: key_of(value).
class SlotTable {
  public:
    template <typename KeyOf>
    std::uint32_t find(std::uint64_t key, const KeyOf& key_of) const {
        if (slots_.empty()) return kNone;
        for (std::size_t i = start(key);; i = (i + 1) & (slots_.size() - 1)) {
            if (slots_[i] == kNone || key_of(slots_[i]) == key) return slots_[i];
        }
    }

    // Sets a value, which must have this key from now on.
    template <typename KeyOf>
    void set(std::uint64_t key, std::uint32_t value, const KeyOf& key_of) {
        if ((used_ + 1) * 2 > slots_.size()) grow(key_of);
        std::size_t i = start(key);
        while (slots_[i] != kNone && key_of(slots_[i]) != key) i = (i + 1) & (slots_.size() - 1);
        used_ += slots_[i] == kNone;
        slots_[i] = value;
    }

    std::size_t allocated_bytes() const { return slots_.capacity() * sizeof(std::uint32_t); }

  private:
    std::size_t start(std::uint64_t key) const {
        key = (key ^ (key >> 32)) * 0x9E3779B97F4A7C15u;
        return static_cast<std::size_t>(key >> 32) & (slots_.size() - 1);
    }

    template <typename KeyOf>
    void grow(const KeyOf& key_of) {
        std::vector<std::uint32_t> old(slots_.empty() ? 64 : slots_.size() * 2, kNone);
        old.swap(slots_);
        for (const std::uint32_t value : old) {
            if (value == kNone) continue;
            std::size_t i = start(key_of(value));
            while (slots_[i] != kNone) i = (i + 1) & (slots_.size() - 1);
            slots_[i] = value;
        }
    }

    std::vector<std::uint32_t> slots_;  // a power of 2
    std::size_t used_ = 0;
};

struct Term {
    std::uint64_t hash;
    std::uint32_t df = 0;    // living documents that hold it
    bool has_large = false;  // some count is kLargeTf or more
    Postings postings;
};

// Not safe by itself: see Bm25.
class Corpus {
  public:
    Corpus(double k1, double b) : k1_(k1), b_(b) {}

    // Builds the index of what was packed. Throws std::invalid_argument when that is no sound packing.
    Corpus(double k1, double b, const Packed& packed);

    // Adds documents whose ids are new and differ.
    void add(const Documents& documents);

    // Takes a living row out of every statistic and answer.
    void remove(std::uint32_t row);

    // Call after a series of `add` or `remove`, before a search: keeps the bounds near the average length.
    void settle();

    Packed pack() const;

    std::size_t num_rows() const { return ids_.size(); }
    std::size_t num_living() const { return num_living_; }
    std::size_t num_postings() const { return num_postings_; }
    std::size_t allocated_bytes() const;

    // The living row of a document, or kNone.
    std::uint32_t row_of(std::int64_t id) const;
    std::int64_t id_of(std::uint32_t row) const { return ids_[row]; }
    bool is_living(std::uint32_t row) const { return lengths_[row] != kDead; }

    // The term of this hash that some living document holds, or null.
    const Term* find(std::uint64_t hash) const;
    std::uint32_t large_tf(const Term& term, std::uint32_t row) const;

    // log(1 + (N - df + 0.5) / (df + 0.5)).
    double idf(std::uint32_t df) const;

    // k1 (1 - b + b length / average), without the last part while all documents are empty.
    kernels::LengthNorm norm() const { return norm_for(average_length()); }
    const float* lengths() const { return lengths_.data(); }  // by row; +infinity for the dead

    // Bounds in the postings were computed for another average length; times this they hold for today's.
    float bound_factor() const;

    double k1() const { return k1_; }

  private:
    struct Count {
        std::uint32_t term, tf;
    };

    static constexpr float kDead = std::numeric_limits<float>::infinity();

    double average_length() const;
    kernels::LengthNorm norm_for(double average) const;
    std::uint32_t number_of(std::uint64_t hash);
    void count(const std::uint64_t* hashes, std::size_t size);
    void append(std::int64_t id, const std::vector<Count>& counts);
    void follow_average();
    static void write(const std::vector<Count>& counts, std::vector<std::uint8_t>& bytes);
    static bool read(const std::uint8_t* bytes, std::size_t size, std::size_t num_terms, std::vector<Count>& counts);
    void read_row(std::uint32_t row, std::vector<Count>& counts) const;

    double k1_, b_;
    std::vector<Term> terms_;
    SlotTable numbers_;  // hash -> number of the term
    std::vector<std::int64_t> ids_;
    SlotTable rows_;                        // id -> its newest row
    std::vector<float> lengths_;            // terms of a row, repeats counted; kDead when it is dead
    std::vector<std::uint64_t> starts_{0};  // of a row's (term, count) pairs in bytes_
    std::vector<std::uint8_t> bytes_;
    std::unordered_map<std::uint64_t, std::uint32_t> large_tfs_;  // (number << 32 | row) -> count
    std::uint64_t total_length_ = 0;                              // of the living
    std::size_t num_living_ = 0;
    std::size_t num_postings_ = 0;    // of the living
    std::size_t postings_bytes_ = 0;  // that the postings of all terms have allocated
    double bounds_average_ = 0.0;     // the average length that the bounds were computed for
    std::vector<Count> scratch_;
    std::vector<std::uint32_t> numbers_scratch_;
};

}  // namespace ruvllm::engines::bm25
