// Numbers to bytes and back, little-endian on every platform, closed by a checksum.
#pragma once

#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ruvllm::engines {

// FNV-1a, 64 bits: against accidents, not against an adversary.
inline std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    return hash;
}

class ByteWriter {
  public:
    explicit ByteWriter(std::string_view magic) : bytes_(magic) {}

    void write(std::uint64_t value) {
        for (int shift = 0; shift < 64; shift += 8) bytes_.push_back(static_cast<char>(value >> shift));
    }
    void write(std::int64_t value) { write(static_cast<std::uint64_t>(value)); }
    void write(double value) { write(std::bit_cast<std::uint64_t>(value)); }

    std::string finish() {
        write(checksum(bytes_));
        return std::move(bytes_);
    }

  private:
    std::string bytes_;
};

// Throws std::invalid_argument when the magic or the checksum is wrong, or when more is read than was written.
class ByteReader {
  public:
    ByteReader(std::string_view magic, std::string_view bytes) : rest_(bytes) {
        if (bytes.substr(0, magic.size()) != magic) fail();
        if (bytes.size() < magic.size() + 8) fail();
        rest_ = bytes.substr(bytes.size() - 8);
        if (read() != checksum(bytes.substr(0, bytes.size() - 8))) fail();
        rest_ = bytes.substr(magic.size(), bytes.size() - magic.size() - 8);
    }

    std::uint64_t read() {
        if (rest_.size() < 8) fail();
        std::uint64_t value = 0;
        for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(rest_[static_cast<std::size_t>(i)]);
        rest_.remove_prefix(8);
        return value;
    }
    std::int64_t read_signed() { return static_cast<std::int64_t>(read()); }
    double read_double() { return std::bit_cast<double>(read()); }

    // A number of entries, each of at least `entry_words` words: no more than there are bytes left, so that a damaged
    // count allocates nothing.
    std::size_t read_count(std::size_t entry_words) {
        const std::uint64_t count = read();
        require(count <= rest_.size() / (8 * entry_words));
        return static_cast<std::size_t>(count);
    }

    bool at_end() const { return rest_.empty(); }

    static void require(bool holds) {
        if (!holds) fail();
    }

  private:
    [[noreturn]] static void fail() { throw std::invalid_argument("the bytes are damaged or of another kind"); }

    std::string_view rest_;
};

}  // namespace ruvllm::engines
