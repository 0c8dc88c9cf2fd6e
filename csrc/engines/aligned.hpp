// Memory for kernels: aligned to a cache line, left unset, never moved.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

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
        values_.reset(static_cast<T*>(::operator new(size * sizeof(T), kAlignment)));
        size_ = size;
    }
    T* data() const { return values_.get(); }
    std::size_t size() const { return size_; }

  private:
    static constexpr std::align_val_t kAlignment{64};
    struct Free {
        void operator()(T* values) const { ::operator delete(values, kAlignment); }
    };
    std::unique_ptr<T, Free> values_;
    std::size_t size_ = 0;
};

}  // namespace ruvllm::engines
