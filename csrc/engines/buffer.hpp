// A growable array of plain values for the engines' big columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ruvllm::engines {

// Unlike std::vector it grows with realloc, which moves pages instead of copying them where the C library can, leaves
// new entries unset, and asks for huge pages, because columns of millions are read at random.
template <typename T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Buffer() { std::free(data_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t capacity() const { return capacity_; }
    std::size_t bytes() const { return capacity_ * sizeof(T); }

    // Makes room for at least `count` entries; what is there stays. Throws std::bad_alloc, then nothing has changed.
    void reserve(std::size_t count) {
        if (count <= capacity_) return;
        if (count > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
        void* grown = std::realloc(data_, count * sizeof(T));
        if (grown == nullptr) throw std::bad_alloc();
        data_ = static_cast<T*>(grown);
        capacity_ = count;
        ask_for_huge_pages();
    }

    void swap(Buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(capacity_, other.capacity_);
    }

  private:
    void ask_for_huge_pages() {
#ifdef __linux__
        constexpr std::uintptr_t kHugePage = std::uintptr_t{1} << 21;
        const auto address = reinterpret_cast<std::uintptr_t>(data_);
        const std::uintptr_t begin = (address + kHugePage - 1) & ~(kHugePage - 1);
        const std::uintptr_t end = (address + bytes()) & ~(kHugePage - 1);
        if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish, not a need
#endif
    }

    T* data_ = nullptr;
    std::size_t capacity_ = 0;
};

}  // namespace ruvllm::engines
