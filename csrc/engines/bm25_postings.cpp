#include "engines/bm25_postings.hpp"

#include <algorithm>
#include <utility>

namespace ruvllm::engines::bm25 {

using kernels::kTfBits;

PostingList::PostingList(PostingList&& other) noexcept { *this = std::move(other); }

PostingList& PostingList::operator=(PostingList&& other) noexcept {
    if (this == &other) return *this;
    clear();
    if (other.capacity_ > kInline) {
        heap_ = other.heap_;
    } else {
        std::copy_n(other.inline_, kInline, inline_);
    }
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, kInline);
    return *this;
}

void PostingList::push_back(std::uint32_t posting) {
    if (size_ == capacity_) reserve(size_ < 1024 ? size_ * 2 : size_ + size_ / 4);
    (capacity_ > kInline ? heap_ : inline_)[size_++] = posting;
}

void PostingList::reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    auto* grown = new std::uint32_t[capacity];
    std::copy_n(data(), size_, grown);
    if (capacity_ > kInline) delete[] heap_;
    heap_ = grown;
    capacity_ = static_cast<std::uint32_t>(capacity);
}

void PostingList::clear() {
    if (capacity_ > kInline) delete[] heap_;
    size_ = 0;
    capacity_ = kInline;
}

void Postings::append(std::uint32_t row, std::uint32_t tf, float impact) {
    bound_ = std::max(bound_, impact);
    if (!is_dense() && list_.size() >= kDensePostings && list_.size() * kDenseShare > row) become_dense();
    if (is_dense()) {
        std::vector<std::uint8_t>& tfs = frequent_->tfs;
        if (row >= tfs.size()) tfs.resize((row / kWindowRows + 1) * kWindowRows);
        tfs[row] = static_cast<std::uint8_t>(tf);
        raise_bound(row / kWindowRows, impact);
        return;
    }
    list_.push_back(row << kTfBits | tf);
    if (list_.size() <= kBlockPostings) return;
    if (!frequent_) {
        frequent_ = std::make_unique<Frequent>();
        frequent_->bounds.push_back(bound_);
    }
    raise_bound((list_.size() - 1) / kBlockPostings, impact);
}

void Postings::reserve(std::size_t num_postings) { list_.reserve(num_postings); }

// The bounds of the windows are those of the blocks that overlap them: loose, until they are rebuilt.
void Postings::become_dense() {
    const std::uint32_t* list = list_.data();
    const std::size_t size = list_.size();
    const std::vector<float> bounds = std::exchange(frequent_->bounds, {});
    frequent_->tfs.resize(((list[size - 1] >> kTfBits) / kWindowRows + 1) * kWindowRows);
    for (std::size_t i = 0; i < size; ++i) {
        const std::uint32_t row = list[i] >> kTfBits;
        frequent_->tfs[row] = static_cast<std::uint8_t>(list[i] & kLargeTf);
        raise_bound(row / kWindowRows, bounds[i / kBlockPostings]);
    }
    list_.clear();
}

void Postings::raise_bound(std::size_t block, float impact) {
    std::vector<float>& bounds = frequent_->bounds;
    if (block >= bounds.size()) bounds.resize(block + 1);
    bounds[block] = std::max(bounds[block], impact);
}

Slice Postings::window(std::uint32_t first_row, std::size_t& cursor) const {
    if (is_dense()) {
        if (first_row >= frequent_->tfs.size()) return {};
        return {nullptr, frequent_->tfs.data() + first_row, kWindowRows, frequent_->bounds[first_row / kWindowRows]};
    }
    const std::uint32_t *list = list_.data(), *end = list + list_.size();
    const auto is_before = [](std::uint32_t posting, std::uint64_t row) { return posting >> kTfBits < row; };
    const std::uint64_t end_row = first_row + kWindowRows;
    const std::uint32_t* from = list + cursor;
    if (from != end && *from >> kTfBits < first_row) from = std::lower_bound(from, end, first_row, is_before);
    const auto left = static_cast<std::size_t>(end - from);
    std::size_t step = 1;  // the window's end is near: look for it in growing steps
    while (step < left && from[step] >> kTfBits < end_row) step *= 2;
    const std::uint32_t* to = std::lower_bound(from + step / 2, from + std::min(step, left), end_row, is_before);
    const auto begin = static_cast<std::size_t>(from - list);
    cursor = static_cast<std::size_t>(to - list);
    if (begin == cursor) return {};
    float impact = bound_;
    if (frequent_) {
        const auto bounds = frequent_->bounds.begin();
        impact = *std::max_element(bounds + static_cast<std::ptrdiff_t>(begin / kBlockPostings),
                                   bounds + static_cast<std::ptrdiff_t>((cursor - 1) / kBlockPostings + 1));
    }
    return {from, nullptr, cursor - begin, impact};
}

std::size_t Postings::allocated_bytes() const {
    std::size_t bytes = list_.allocated_bytes();
    if (frequent_) {
        bytes += sizeof(Frequent) + frequent_->bounds.capacity() * sizeof(float) + frequent_->tfs.capacity();
    }
    return bytes;
}

}  // namespace ruvllm::engines::bm25
