// A reservoir to bytes and back. What comes back is checked in full: nothing in the bytes can lead outside an array.
#include <algorithm>

#include "engines/bytes.hpp"
#include "engines/reservoir.hpp"

namespace ruvllm::engines {
namespace {

constexpr std::string_view kMagic = "RUVLRSVR";
constexpr std::uint64_t kVersion = 1;

void require(bool is_possible) {
    if (!is_possible) throw bad_snapshot("hold a state that a reservoir can reach");
}

bool take_flag(SnapshotReader& reader) {
    const auto flag = reader.take<std::uint64_t>();
    require(flag <= 1);
    return flag == 1;
}

}  // namespace

std::string Reservoir::snapshot() const {
    const std::size_t num_words = 9 + items_.size() + 5 * strata_.size() + 2 * items_.size();  // at most
    SnapshotWriter writer(kMagic, kVersion, 8 * num_words);
    writer.put(std::uint64_t{capacity_});
    writer.put(std::uint64_t{is_weighted_});
    writer.put(random_.state());
    writer.put(num_seen_);
    writer.put(std::uint64_t{items_.size()});
    writer.put_all(items_.data(), items_.size());
    writer.put(std::uint64_t{strata_.size()});
    for (const Stratum& s : strata_) {
        writer.put(s.label);
        writer.put(std::uint64_t{s.is_sampled});
        writer.put(s.log_w);
        writer.put(s.skip);
        writer.put(std::uint64_t{s.size()});
        for (const std::uint32_t slot : s.slots) writer.put(std::uint64_t{slot});
        for (const Keyed& keyed : s.heap) {
            writer.put(std::uint64_t{keyed.slot});
            writer.put(keyed.key);
        }
    }
    return writer.seal();
}

Reservoir::Reservoir(std::string_view snapshot) : Reservoir(1, false, 0) {
    SnapshotReader reader(kMagic, kVersion, snapshot);
    capacity_ = static_cast<std::size_t>(reader.take<std::uint64_t>());
    require(capacity_ >= 1 && capacity_ <= kMaxCapacity);
    is_weighted_ = take_flag(reader);
    const auto state = reader.take<Random::State>();
    require(std::any_of(state.begin(), state.end(), [](std::uint64_t word) { return word != 0; }));
    random_ = Random(state);
    num_seen_ = reader.take<std::uint64_t>();
    items_ = reader.take_column<std::int64_t>(reader.take<std::uint64_t>());
    require(items_.size() <= capacity_ && items_.size() <= num_seen_ && num_seen_ <= std::uint64_t{1} << 53);
    for (const std::int64_t item : items_) require(item >= 0 && static_cast<std::uint64_t>(item) < num_seen_);
    std::vector<bool> is_taken(items_.size());
    const auto take_slot = [&] {
        const auto slot = reader.take<std::uint64_t>();
        require(slot < is_taken.size() && !is_taken[slot]);
        is_taken[slot] = true;
        return static_cast<std::uint32_t>(slot);
    };
    const std::size_t num_strata = reader.take_count(5 * 8);
    for (std::size_t i = 0; i < num_strata; ++i) {
        Stratum s{.label = reader.take<std::int64_t>(), .slots = {}, .heap = {}};
        s.is_sampled = take_flag(reader);
        s.log_w = reader.take<double>();
        s.skip = reader.take<double>();
        require(s.log_w <= 0.0 && s.skip >= 0.0 && (!s.is_sampled || items_.size() == capacity_));
        const std::size_t size = reader.take_count(is_weighted_ ? 16 : 8);
        require(size >= 1);
        if (is_weighted_) {
            s.heap.resize(size);
            for (Keyed& keyed : s.heap) {
                keyed.slot = take_slot();
                keyed.key = reader.take<double>();
                require(keyed.key <= 0.0);
            }
            require(std::is_heap(s.heap.begin(), s.heap.end(), Keyed::has_larger_key));
        } else {
            s.slots.resize(size);
            for (std::uint32_t& slot : s.slots) slot = take_slot();
        }
        require(stratum_of_.try_emplace(s.label, i).second);
        strata_.push_back(std::move(s));
    }
    require(std::find(is_taken.begin(), is_taken.end(), false) == is_taken.end());
    reader.finish();
}

}  // namespace ruvllm::engines
