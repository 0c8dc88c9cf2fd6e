// Between magic and checksum (see bytes.hpp):
//   num_terms u64, num_documents u64, num_bytes u64
//   hashes u64 (num_terms), ids i64 (num_documents), sizes u32 (num_documents), packed documents u8 (num_bytes)
#include "engines/bm25_snapshot.hpp"

#include "engines/bytes.hpp"

namespace ruvllm::engines::bm25 {
namespace {

constexpr std::string_view kMagic = "RUVLBM25";
constexpr std::uint64_t kVersion = 1;

}  // namespace

std::string to_bytes(const Packed& packed) {
    const std::uint64_t sizes[] = {packed.hashes.size(), packed.ids.size(), packed.bytes.size()};
    SnapshotWriter writer(kMagic, kVersion, sizeof sizes + sizes[0] * 8 + sizes[1] * 12 + sizes[2]);
    writer.put_all(sizes, 3);
    writer.put_all(packed.hashes.data(), packed.hashes.size());
    writer.put_all(packed.ids.data(), packed.ids.size());
    writer.put_all(packed.sizes.data(), packed.sizes.size());
    writer.put_all(packed.bytes.data(), packed.bytes.size());
    return writer.seal();
}

Packed from_bytes(std::string_view bytes) {
    SnapshotReader reader(kMagic, kVersion, bytes);
    const auto num_terms = reader.take<std::uint64_t>(), num_documents = reader.take<std::uint64_t>(),
               num_bytes = reader.take<std::uint64_t>();
    Packed packed;
    packed.hashes = reader.take_column<std::uint64_t>(num_terms);
    packed.ids = reader.take_column<std::int64_t>(num_documents);
    packed.sizes = reader.take_column<std::uint32_t>(num_documents);
    packed.bytes = reader.take_column<std::uint8_t>(num_bytes);
    reader.finish();
    return packed;
}

}  // namespace ruvllm::engines::bm25
