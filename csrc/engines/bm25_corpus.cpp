#include "engines/bm25_corpus.hpp"

#include <algorithm>
#include <cmath>

#include "engines/bytes.hpp"

namespace ruvllm::engines::bm25 {
namespace {

constexpr float kSmallestSlope = std::numeric_limits<float>::min();
constexpr double kAverageDrift = 1.1;  // of the average length, beyond which the bounds are computed anew

void write_varint(std::uint64_t value, std::vector<std::uint8_t>& bytes) {
    for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 128u));
    bytes.push_back(static_cast<std::uint8_t>(value));
}

// Reads one number and moves `bytes` past it; false when it does not end before `end` or in 40 bits.
bool read_varint(const std::uint8_t*& bytes, const std::uint8_t* end, std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; bytes != end && shift < 42; shift += 7) {
        const std::uint8_t byte = *bytes++;
        value |= std::uint64_t{byte & 127u} << shift;
        if (byte < 128) return true;
    }
    return false;
}

}  // namespace

Corpus::Corpus(double k1, double b, const Packed& packed) : Corpus(k1, b) {
    const std::size_t num_terms = packed.hashes.size(), num_rows = packed.ids.size();
    if (num_terms >= kNone || num_rows > kMaxRows) throw bad_snapshot("hold fewer terms and documents");
    terms_.reserve(num_terms);
    for (std::size_t i = 0; i < num_terms; ++i) {
        if (number_of(packed.hashes[i]) != i) throw bad_snapshot("name each term once");
    }
    // First what the postings depend on: how many there are of each term, and the average length.
    std::vector<std::uint32_t> sizes(num_terms);
    const std::uint8_t* from = packed.bytes.data();
    std::size_t left = packed.bytes.size();
    for (std::size_t row = 0; row < num_rows; ++row) {
        const std::size_t size = packed.sizes[row];
        if (size > left || !read(from, size, num_terms, scratch_)) throw bad_snapshot("hold sound documents");
        std::uint64_t length = 0;
        for (const Count& count : scratch_) {
            ++sizes[count.term];
            length += count.tf;
        }
        if (length >= kNone) throw bad_snapshot("hold sound documents");
        total_length_ += length;
        from += size;
        left -= size;
    }
    if (left > 0) throw bad_snapshot("hold its documents only");
    for (std::size_t i = 0; i < num_terms; ++i) {
        if (sizes[i] < kDensePostings) terms_[i].postings.reserve(sizes[i]);
        postings_bytes_ += terms_[i].postings.allocated_bytes();
    }
    bounds_average_ = num_rows > 0 ? static_cast<double>(total_length_) / static_cast<double>(num_rows) : 0.0;
    total_length_ = 0;
    bytes_.reserve(packed.bytes.size());
    from = packed.bytes.data();
    for (std::size_t row = 0; row < num_rows; ++row) {
        if (row_of(packed.ids[row]) != kNone) throw bad_snapshot("name each document once");
        read(from, packed.sizes[row], num_terms, scratch_);
        append(packed.ids[row], scratch_);
        from += packed.sizes[row];
    }
    settle();
}

void Corpus::add(const Documents& documents) {
    for (std::size_t i = 0; i < documents.size; ++i) {
        const auto start = static_cast<std::size_t>(documents.starts[i]);
        const auto end = static_cast<std::size_t>(documents.starts[i + 1]);
        count(documents.terms + start, end - start);
        append(documents.ids[i], scratch_);
    }
}

// Fills scratch_ with the terms of one document, by ascending number.
void Corpus::count(const std::uint64_t* hashes, std::size_t size) {
    numbers_scratch_.clear();
    for (std::size_t i = 0; i < size; ++i) numbers_scratch_.push_back(number_of(hashes[i]));
    std::sort(numbers_scratch_.begin(), numbers_scratch_.end());
    scratch_.clear();
    for (const std::uint32_t number : numbers_scratch_) {
        if (scratch_.empty() || scratch_.back().term != number) scratch_.push_back({number, 0});
        ++scratch_.back().tf;
    }
}

std::uint32_t Corpus::number_of(std::uint64_t hash) {
    const auto hash_of = [this](std::uint32_t number) { return terms_[number].hash; };
    const std::uint32_t known = numbers_.find(hash, hash_of);
    if (known != kNone) return known;
    const auto number = static_cast<std::uint32_t>(terms_.size());
    terms_.push_back({hash, 0, false, {}});
    numbers_.set(hash, number, hash_of);
    return number;
}

void Corpus::append(std::int64_t id, const std::vector<Count>& counts) {
    const auto row = static_cast<std::uint32_t>(ids_.size());
    std::uint64_t length = 0;
    for (const Count& count : counts) length += count.tf;
    total_length_ += length;
    ++num_living_;
    num_postings_ += counts.size();
    ids_.push_back(id);
    lengths_.push_back(static_cast<float>(length));
    const auto id_of = [this](std::uint32_t r) { return static_cast<std::uint64_t>(ids_[r]); };
    rows_.set(static_cast<std::uint64_t>(id), row, id_of);
    write(counts, bytes_);
    starts_.push_back(bytes_.size());
    if (bounds_average_ == 0.0) bounds_average_ = average_length();
    const float norm = norm_for(bounds_average_)(lengths_[row]);
    for (const Count& count : counts) {
        Term& term = terms_[count.term];
        ++term.df;
        if (count.tf >= kLargeTf) {
            term.has_large = true;
            large_tfs_[std::uint64_t{count.term} << 32 | row] = count.tf;
        }
        postings_bytes_ -= term.postings.allocated_bytes();
        term.postings.append(row, std::min(count.tf, kLargeTf), impact_of(count.tf, norm));
        postings_bytes_ += term.postings.allocated_bytes();
    }
}

void Corpus::remove(std::uint32_t row) {
    read_row(row, scratch_);
    for (const Count& count : scratch_) {
        --terms_[count.term].df;
        total_length_ -= count.tf;
    }
    num_postings_ -= scratch_.size();
    lengths_[row] = kDead;
    --num_living_;
}

void Corpus::settle() {
    const double average = average_length();
    if (average > bounds_average_ * kAverageDrift || average * kAverageDrift < bounds_average_) follow_average();
}

void Corpus::follow_average() {
    bounds_average_ = average_length();
    const kernels::LengthNorm norm = norm_for(bounds_average_);
    for (Term& term : terms_) {
        term.postings.rebuild_bounds([&](std::uint32_t row, std::uint32_t tf) {
            if (!is_living(row)) return 0.0f;
            return impact_of(tf < kLargeTf ? tf : large_tf(term, row), norm(lengths_[row]));
        });
    }
}

// tf / (tf + k1 (1 - b) + k1 b length / average) grows with the average, and no faster than it.
float Corpus::bound_factor() const {
    return bounds_average_ > 0.0 ? static_cast<float>(std::max(1.0, average_length() / bounds_average_)) : 1.0f;
}

double Corpus::average_length() const {
    return num_living_ > 0 ? static_cast<double>(total_length_) / static_cast<double>(num_living_) : 0.0;
}

kernels::LengthNorm Corpus::norm_for(double average) const {
    const auto slope = static_cast<float>(average > 0.0 ? k1_ * b_ / average : 0.0);
    return {static_cast<float>(k1_ * (1.0 - b_)), std::max(slope, kSmallestSlope)};
}

double Corpus::idf(std::uint32_t df) const {
    const auto n = static_cast<double>(num_living_);
    return std::log1p((n - df + 0.5) / (df + 0.5));
}

std::uint32_t Corpus::row_of(std::int64_t id) const {
    const auto id_of = [this](std::uint32_t row) { return static_cast<std::uint64_t>(ids_[row]); };
    const std::uint32_t row = rows_.find(static_cast<std::uint64_t>(id), id_of);
    return row != kNone && is_living(row) ? row : kNone;
}

const Term* Corpus::find(std::uint64_t hash) const {
    const std::uint32_t number = numbers_.find(hash, [this](std::uint32_t n) { return terms_[n].hash; });
    return number != kNone && terms_[number].df > 0 ? &terms_[number] : nullptr;
}

std::uint32_t Corpus::large_tf(const Term& term, std::uint32_t row) const {
    return large_tfs_.at(static_cast<std::uint64_t>(&term - terms_.data()) << 32 | row);
}

// Terms that no living document holds are left out; the others keep their order.
Packed Corpus::pack() const {
    Packed packed;
    std::vector<std::uint32_t> new_numbers(terms_.size());
    for (std::size_t i = 0; i < terms_.size(); ++i) {
        new_numbers[i] = static_cast<std::uint32_t>(packed.hashes.size());
        if (terms_[i].df > 0) packed.hashes.push_back(terms_[i].hash);
    }
    std::vector<Count> counts;
    packed.bytes.reserve(bytes_.size());
    for (std::uint32_t row = 0; row < ids_.size(); ++row) {
        if (!is_living(row)) continue;
        const std::size_t start = packed.bytes.size();
        read_row(row, counts);
        for (Count& count : counts) count.term = new_numbers[count.term];
        write(counts, packed.bytes);
        packed.ids.push_back(ids_[row]);
        packed.sizes.push_back(static_cast<std::uint32_t>(packed.bytes.size() - start));
    }
    return packed;
}

// A document's terms as differences of ascending numbers, each with a bit that says "once"; other counts follow it.
void Corpus::write(const std::vector<Count>& counts, std::vector<std::uint8_t>& bytes) {
    std::uint64_t next = 0;  // the smallest number that can come
    for (const Count& count : counts) {
        write_varint((count.term - next) << 1 | (count.tf == 1), bytes);
        if (count.tf != 1) write_varint(count.tf, bytes);
        next = std::uint64_t{count.term} + 1;
    }
}

// False when the bytes were not written by `write` for terms below num_terms.
bool Corpus::read(const std::uint8_t* bytes, std::size_t size, std::size_t num_terms, std::vector<Count>& counts) {
    counts.clear();
    const std::uint8_t* end = bytes + size;
    std::uint64_t next = 0, value = 0, tf = 0;
    while (bytes != end) {
        if (!read_varint(bytes, end, value)) return false;
        tf = value & 1;
        if (tf == 0 && (!read_varint(bytes, end, tf) || tf < 2 || tf >= kNone)) return false;
        const std::uint64_t number = next + (value >> 1);
        if (number >= num_terms) return false;
        counts.push_back({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(tf)});
        next = number + 1;
    }
    return true;
}

void Corpus::read_row(std::uint32_t row, std::vector<Count>& counts) const {
    read(bytes_.data() + starts_[row], starts_[row + 1] - starts_[row], terms_.size(), counts);
}

std::size_t Corpus::allocated_bytes() const {
    return postings_bytes_ + terms_.capacity() * sizeof(Term) + numbers_.allocated_bytes() + rows_.allocated_bytes() +
           ids_.capacity() * sizeof(std::int64_t) + lengths_.capacity() * sizeof(float) +
           starts_.capacity() * sizeof(std::uint64_t) + bytes_.capacity() + large_tfs_.size() * 32;
}

}  // namespace ruvllm::engines::bm25
