// Memory for kernels: aligned to a cache line, left unset, never moved.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ruvllm::engines {

// `size()` values of T, a plain number type. Growing forgets what it held.
template <typename T>
class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(std::size_t size) { reserve(size); }

    // At least `size` values; what was there is lost when it has to grow.
    void reserve(std::size_t size) {
        if (size <= size_) return;
        const bool is_large = size >= 2 * kHugePage / sizeof(T);
        const auto alignment = is_large ? std::align_val_t{kHugePage} : kAlignment;
        values_ = Values(static_cast<T*>(::operator new(size * sizeof(T), alignment)), Free{alignment});
        size_ = size;
#ifdef __linux__
        if (is_large) madvise(values_.get(), size * sizeof(T), MADV_HUGEPAGE);  // a wish, not a need
#endif
    }
    T* data() const { return values_.get(); }
    std::size_t size() const { return size_; }

  private:
    static constexpr std::align_val_t kAlignment{64};
    static constexpr std::size_t kHugePage = std::size_t{1} << 21;
    struct Free {
        std::align_val_t alignment{kAlignment};
        void operator()(T* values) const { ::operator delete(values, alignment); }
    };
    using Values = std::unique_ptr<T, Free>;
    Values values_;
    std::size_t size_ = 0;
};

}  // namespace ruvllm::engines
