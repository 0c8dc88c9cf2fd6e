// A reservoir to bytes and back. What comes back is checked in full: nothing in the bytes can lead outside an array.
#include <algorithm>

#include "engines/bytes.hpp"
#include "engines/reservoir.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::string_view kMagic = "ruvllm reservoir 1\n";  // the number is the version of what follows

bool read_flag(ByteReader& reader) {
    const std::uint64_t flag = reader.read();
    reader.require(flag <= 1);
    return flag == 1;
}

Random::State read_state(ByteReader& reader) {
    Random::State state;
    for (std::uint64_t& word : state) word = reader.read();
    reader.require(std::any_of(state.begin(), state.end(), [](std::uint64_t word) { return word != 0; }));
    return state;
}

}  // namespace

std::string Reservoir::to_bytes() const {
    ByteWriter writer(kMagic);
    writer.write(std::uint64_t{capacity_});
    writer.write(std::uint64_t{is_weighted_});
    for (const std::uint64_t word : random_.state()) writer.write(word);
    writer.write(num_seen_);
    writer.write(std::uint64_t{items_.size()});
    for (const std::int64_t item : items_) writer.write(item);
    writer.write(std::uint64_t{strata_.size()});
    for (const Stratum& s : strata_) {
        writer.write(s.label);
        writer.write(std::uint64_t{s.is_sampled});
        writer.write(s.log_w);
        writer.write(s.skip);
        writer.write(std::uint64_t{s.size()});
        for (const std::uint32_t slot : s.slots) writer.write(std::uint64_t{slot});
        for (const Keyed& keyed : s.heap) {
            writer.write(std::uint64_t{keyed.slot});
            writer.write(keyed.key);
        }
    }
    return writer.finish();
}

Reservoir::Reservoir(std::string_view bytes) : Reservoir(1, false, 0) {
    ByteReader reader(kMagic, bytes);
    capacity_ = static_cast<std::size_t>(reader.read());
    reader.require(capacity_ >= 1 && capacity_ <= kMaxCapacity);
    is_weighted_ = read_flag(reader);
    random_ = Random(read_state(reader));
    num_seen_ = reader.read();
    items_.resize(reader.read_count(1));
    reader.require(items_.size() <= capacity_ && items_.size() <= num_seen_ && num_seen_ >> 62 == 0);
    for (std::int64_t& item : items_) {
        item = reader.read_signed();
        reader.require(item >= 0 && static_cast<std::uint64_t>(item) < num_seen_);
    }
    std::vector<bool> is_taken(items_.size());
    const auto read_slot = [&] {
        const std::uint64_t slot = reader.read();
        reader.require(slot < is_taken.size() && !is_taken[slot]);
        is_taken[slot] = true;
        return static_cast<std::uint32_t>(slot);
    };
    const std::size_t num_strata = reader.read_count(5);
    for (std::size_t i = 0; i < num_strata; ++i) {
        Stratum s{.label = reader.read_signed(), .slots = {}, .heap = {}};
        s.is_sampled = read_flag(reader);
        s.log_w = reader.read_double();
        s.skip = reader.read_double();
        reader.require(s.log_w <= 0.0 && s.skip >= 0.0 && (!s.is_sampled || items_.size() == capacity_));
        const std::size_t size = reader.read_count(is_weighted_ ? 2 : 1);
        reader.require(size >= 1);
        if (is_weighted_) {
            s.heap.resize(size);
            for (Keyed& keyed : s.heap) {
                keyed.slot = read_slot();
                keyed.key = reader.read_double();
                reader.require(keyed.key <= 0.0);
            }
            reader.require(std::is_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key));
        } else {
            s.slots.resize(size);
            for (std::uint32_t& slot : s.slots) slot = read_slot();
        }
        reader.require(stratum_of_.try_emplace(s.label, i).second);
        strata_.push_back(std::move(s));
    }
    reader.require(reader.at_end() && std::find(is_taken.begin(), is_taken.end(), false) == is_taken.end());
}

}  // namespace ruvllm::engines
