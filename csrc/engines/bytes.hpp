// Snapshots: numbers and columns of them to bytes and back. Little-endian, one after the other without gaps:
//   magic (8 characters), version u64, what the owner puts, XXH64 of everything before u64
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/checksum.hpp"

namespace ruvllm::engines {

static_assert(std::endian::native == std::endian::little, "snapshots are written as memory holds them");

// Bytes of memory that mean a value, all of them.
template <typename T>
inline constexpr bool kIsPlain = std::is_floating_point_v<T> || std::has_unique_object_representations_v<T>;

inline std::invalid_argument bad_snapshot(const std::string& what) { return std::invalid_argument("snapshot must " + what); }

inline constexpr std::size_t kMagicBytes = 8, kChecksumBytes = 8, kMinSnapshotBytes = kMagicBytes + 8 + kChecksumBytes;

class SnapshotWriter {
  public:
    // `size`: bytes that will be put, so that they are allocated once.
    SnapshotWriter(std::string_view magic, std::uint64_t version, std::size_t size) {
        bytes_.reserve(kMinSnapshotBytes + size);
        bytes_ = magic;
        put(version);
    }

    template <typename T>
    void put(const T& value) {
        put_all(&value, 1);
    }

    template <typename T>
    void put_all(const T* values, std::size_t count) {
        static_assert(kIsPlain<T>);
        if (count > 0) bytes_.append(reinterpret_cast<const char*>(values), count * sizeof(T));
    }

    std::string seal() {
        put(kernels::hash64(bytes_.data(), bytes_.size()));
        return std::move(bytes_);
    }

  private:
    std::string bytes_;
};

// Throws std::invalid_argument: at once when the bytes are cut, of another kind or version, or damaged, and later when
// more is taken than was put or less. That leaves bytes that are forged: the owner checks values as it takes them.
class SnapshotReader {
  public:
    SnapshotReader(std::string_view magic, std::uint64_t version, std::string_view bytes) : rest_(bytes) {
        if (bytes.size() < kMinSnapshotBytes) throw bad_snapshot("be whole (" + std::to_string(bytes.size()) + " bytes)");
        if (bytes.substr(0, kMagicBytes) != magic) throw bad_snapshot("be of this kind (foreign bytes)");
        rest_.remove_prefix(kMagicBytes);
        if (const auto got = take<std::uint64_t>(); got != version) {
            throw bad_snapshot("be of version " + std::to_string(version) + " (" + std::to_string(got) + ")");
        }
        std::uint64_t checksum;
        std::memcpy(&checksum, bytes.data() + bytes.size() - kChecksumBytes, kChecksumBytes);
        if (checksum != kernels::hash64(bytes.data(), bytes.size() - kChecksumBytes)) {
            throw bad_snapshot("match its checksum");
        }
        rest_.remove_suffix(kChecksumBytes);
    }

    template <typename T>
    T take() {
        T value;
        take_all(&value, 1);
        return value;
    }

    template <typename T>
    std::vector<T> take_column(std::uint64_t count) {
        std::vector<T> values(checked_count(count, sizeof(T)));
        take_all(values.data(), values.size());
        return values;
    }

    // A number of entries, each of at least `entry_bytes`: no more than there are bytes left, so that a forged count
    // allocates nothing.
    std::size_t take_count(std::size_t entry_bytes) { return checked_count(take<std::uint64_t>(), entry_bytes); }

    // Everything was taken.
    void finish() const {
        if (!rest_.empty()) throw bad_snapshot("end after its last column");
    }

  private:
    std::size_t checked_count(std::uint64_t count, std::size_t entry_bytes) const {
        if (count > rest_.size() / entry_bytes) throw bad_snapshot("hold as much as it counts");
        return static_cast<std::size_t>(count);
    }

    template <typename T>
    void take_all(T* values, std::size_t count) {
        static_assert(kIsPlain<T>);
        const std::size_t size = checked_count(count, sizeof(T)) * sizeof(T);
        if (size > 0) std::memcpy(values, rest_.data(), size);
        rest_.remove_prefix(size);
    }

    std::string_view rest_;
};

}  // namespace ruvllm::engines
