#include "engines/bm25_snapshot.hpp"

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace ruvllm::engines::bm25 {
namespace {

constexpr std::uint64_t kMagic = 0x0001'3532'4D42'5652;  // "RVBM25", version 1; another byte order reads differently

struct Header {
    std::uint64_t magic, num_terms, num_documents, num_bytes;
};

// Any changed bit changes it; not meant against forgery, which `Corpus` survives too.
std::uint64_t checksum(const char* bytes, std::size_t size) {
    std::uint64_t hash = 0x9E3779B97F4A7C15u ^ size;
    const auto add = [&hash](std::uint64_t word) {
        hash = (hash ^ word) * 0xBF58476D1CE4E5B9u;
        hash ^= hash >> 29;
    };
    std::size_t i = 0;
    for (; i + sizeof(std::uint64_t) <= size; i += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + i, sizeof word);
        add(word);
    }
    for (; i < size; ++i) add(static_cast<unsigned char>(bytes[i]));
    return hash;
}

template <typename T>
void write(std::string& out, const T* values, std::size_t size) {
    if (size > 0) out.append(reinterpret_cast<const char*>(values), size * sizeof(T));
}

template <typename T>
void read(const char*& from, std::vector<T>& values, std::size_t size) {
    values.resize(size);
    if (size > 0) std::memcpy(values.data(), from, size * sizeof(T));
    from += size * sizeof(T);
}

}  // namespace

std::string to_bytes(const Packed& packed) {
    const Header header{kMagic, packed.hashes.size(), packed.ids.size(), packed.bytes.size()};
    std::string out;
    out.reserve(sizeof header + packed.hashes.size() * 8 + packed.ids.size() * 12 + packed.bytes.size() + 8);
    write(out, &header, 1);
    write(out, packed.hashes.data(), packed.hashes.size());
    write(out, packed.ids.data(), packed.ids.size());
    write(out, packed.sizes.data(), packed.sizes.size());
    write(out, packed.bytes.data(), packed.bytes.size());
    const std::uint64_t sum = checksum(out.data(), out.size());
    write(out, &sum, 1);
    return out;
}

Packed from_bytes(const char* bytes, std::size_t size) {
    Header header{};
    std::uint64_t sum = 0;
    if (size < sizeof header + sizeof sum) throw std::invalid_argument("is cut off");
    std::memcpy(&header, bytes, sizeof header);
    if (header.magic != kMagic) throw std::invalid_argument("is none, or of another version or byte order");
    std::memcpy(&sum, bytes + size - sizeof sum, sizeof sum);
    if (sum != checksum(bytes, size - sizeof sum)) throw std::invalid_argument("is damaged: its checksum is wrong");
    const std::size_t room = size - sizeof header - sizeof sum;
    if (header.num_terms > room / 8 || header.num_documents > room / 12 || header.num_bytes > room ||
        header.num_terms * 8 + header.num_documents * 12 + header.num_bytes != room) {
        throw std::invalid_argument("is damaged: its sizes are wrong");
    }
    Packed packed;
    bytes += sizeof header;
    read(bytes, packed.hashes, header.num_terms);
    read(bytes, packed.ids, header.num_documents);
    read(bytes, packed.sizes, header.num_documents);
    read(bytes, packed.bytes, header.num_bytes);
    return packed;
}

}  // namespace ruvllm::engines::bm25
