// What the heaviest edges of hubs lead to, kept from one walk to the next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engines/graph_storage.hpp"

namespace ruvllm::engines {

// To find a node's heaviest edges all of them are read, and the walk of one question meets hubs with ten thousand. Their
// neighbours are therefore written down, in the order in which they are followed, until an edge of theirs changes.
// Several threads that hold the graph for reading may use it; who changes the graph holds it alone.
class Hubs {
  public:
    static bool is_hub(const NodeRow& node) { return node.out.size + node.in.size >= kLeastEdges; }

    // Takes the first `fan_out` neighbours of a hub; false when they are not known.
    bool find(std::uint32_t row, std::size_t fan_out, std::vector<std::uint32_t>& neighbours) const {
        const std::lock_guard turn(mutex_);
        const auto found = kept_.find(row);
        if (found == kept_.end() || found->second.fan_out < fan_out) return false;
        const std::vector<std::uint32_t>& all = found->second.neighbours;
        neighbours.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(fan_out, all.size())));
        return true;
    }

    void keep(std::uint32_t row, std::size_t fan_out, const std::vector<std::uint32_t>& neighbours) {
        if (fan_out > kMostKept) return;
        const std::lock_guard turn(mutex_);
        kept_[row] = {fan_out, neighbours};
    }

    void forget(std::uint32_t row) { kept_.erase(row); }
    void forget_all() { kept_.clear(); }

    std::size_t bytes() const {
        const std::lock_guard turn(mutex_);
        std::size_t bytes = kept_.bucket_count() * sizeof(void*);
        for (const auto& [row, hub] : kept_) {
            bytes += sizeof(row) + sizeof(hub) + 2 * sizeof(void*) + hub.neighbours.capacity() * sizeof(row);
        }
        return bytes;
    }

  private:
    static constexpr std::size_t kLeastEdges = 64;  // fewer are read in less than a microsecond
    static constexpr std::size_t kMostKept = 64;

    struct Hub {
        std::size_t fan_out;
        std::vector<std::uint32_t> neighbours;  // rows, twice where two edges lead there
    };

    mutable std::mutex mutex_;
    std::unordered_map<std::uint32_t, Hub> kept_;
};

}  // namespace ruvllm::engines
