// The postings of one term: a list while the term is rare, one count a row once it is frequent, with the largest impact
// of every block as a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/bm25.hpp"

namespace ruvllm::engines::bm25 {

inline constexpr std::uint32_t kMaxRows = 1u << 24;    // rows are 24 bits of a posting
inline constexpr std::uint32_t kLargeTf = 255;         // this often or more: the count itself is kept apart
inline constexpr std::size_t kWindowRows = 2048;       // searched at a time; scores and norms of a window stay in L1
inline constexpr std::size_t kBlockPostings = 128;     // of a list: one bound
inline constexpr std::size_t kDensePostings = 1024;    // shorter lists stay lists
inline constexpr std::size_t kDenseShare = 8;          // a term in one row of so many is frequent

// What a term adds to a document, without the term's weight: tf / (tf + norm), in (0, 1].
inline float impact_of(std::uint32_t tf, float norm) {
    return static_cast<float>(tf) / (static_cast<float>(tf) + norm);
}

// Packed postings; the first two need no memory of their own, and most terms have no more.
class PostingList {
  public:
    PostingList() = default;
    PostingList(PostingList&& other) noexcept;
    PostingList& operator=(PostingList&& other) noexcept;
    PostingList(const PostingList&) = delete;
    PostingList& operator=(const PostingList&) = delete;
    ~PostingList() { clear(); }

    const std::uint32_t* data() const { return capacity_ > kInline ? heap_ : inline_; }
    std::size_t size() const { return size_; }
    std::size_t allocated_bytes() const { return capacity_ > kInline ? capacity_ * sizeof(std::uint32_t) : 0; }
    void push_back(std::uint32_t posting);
    void reserve(std::size_t capacity);
    void clear();

  private:
    static constexpr std::uint32_t kInline = 2;
    union {
        std::uint32_t inline_[kInline] = {};
        std::uint32_t* heap_;
    };
    std::uint32_t size_ = 0;
    std::uint32_t capacity_ = kInline;
};

// Postings with rows in [first_row, end_row) and a bound of their impacts.
struct Slice {
    const std::uint32_t* list = nullptr;  // null when the term is stored as counts
    const std::uint8_t* tfs = nullptr;    // of row first_row on
    std::size_t size = 0;                 // postings of `list`, or rows of `tfs`
    float impact = 0.0f;                  // no impact in the slice is larger, up to rounding
};

class Postings {
  public:
    // Appends a posting; rows come in ascending order, `tf` is at most kLargeTf.
    void append(std::uint32_t row, std::uint32_t tf, float impact);

    // Makes room for a list of so many postings.
    void reserve(std::size_t num_postings);

    // The postings of the window that starts at first_row, a multiple of kWindowRows. `cursor` is 0 for the first of a
    // series of ascending windows and is moved along.
    Slice window(std::uint32_t first_row, std::size_t& cursor) const;

    // Computes the bounds anew: impact(row, tf) for every posting.
    template <typename Impact>
    void rebuild_bounds(const Impact& impact);

    std::size_t allocated_bytes() const;

  private:
    struct Frequent {
        std::vector<float> bounds;      // of each block of the list, or of each window of the counts
        std::vector<std::uint8_t> tfs;  // whole windows; empty while the postings are a list
    };

    bool is_dense() const { return frequent_ && !frequent_->tfs.empty(); }
    void become_dense();
    void raise_bound(std::size_t block, float impact);

    PostingList list_;
    std::unique_ptr<Frequent> frequent_;  // once there is more than one block
    float bound_ = 0.0f;                  // of all postings
};

template <typename Impact>
void Postings::rebuild_bounds(const Impact& impact) {
    bound_ = 0.0f;
    if (frequent_) frequent_->bounds.assign(frequent_->bounds.size(), 0.0f);
    const auto raise = [&](std::size_t block, float value) {
        bound_ = value > bound_ ? value : bound_;
        if (frequent_) raise_bound(block, value);
    };
    for (std::size_t i = 0; i < list_.size(); ++i) {
        raise(i / kBlockPostings, impact(list_.data()[i] >> kernels::kTfBits, list_.data()[i] & kLargeTf));
    }
    if (!is_dense()) return;
    for (std::size_t row = 0; row < frequent_->tfs.size(); ++row) {
        const std::uint32_t tf = frequent_->tfs[row];
        if (tf > 0) raise(row / kWindowRows, impact(static_cast<std::uint32_t>(row), tf));
    }
}

}  // namespace ruvllm::engines::bm25
