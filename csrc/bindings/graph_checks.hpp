// Checks that the bindings of the graph and of its kernels share.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "bindings/checks.hpp"

namespace ruvllm::bindings {

inline void require_between(double value, const char* name, double low, double high) {
    if (value >= low && value <= high) return;
    throw bad_value(name, "be in [" + text_of(py::float_(low)) + ", " + text_of(py::float_(high)) + "]",
                    text_of(py::float_(value)));
}

// Every entry in [low, high], so none a NaN; at memory speed while all is well.
inline void require_between(const Array<const float>& values, const char* name, double low, double high) {
    const auto least = static_cast<float>(low), most = static_cast<float>(high);
    const float* all = values.data();
    int is_good = 1;
    for (std::size_t i = 0, n = values.size(); i < n; ++i) is_good &= (all[i] >= least) & (all[i] <= most);
    for (std::size_t i = 0; is_good == 0 && i < values.size(); ++i) {
        const std::string which = std::string(name) + "[" + std::to_string(i) + "]";
        require_between(double{values[i]}, which.c_str(), low, high);
    }
}

inline void require_types(const Array<const std::uint8_t>& types, const char* name, std::size_t num_types) {
    const std::uint8_t* all = types.data();
    std::uint8_t most = 0;
    for (std::size_t i = 0, n = types.size(); i < n; ++i) most = std::max(most, all[i]);
    if (most < num_types) return;
    for (std::size_t i = 0; i < types.size(); ++i) {
        if (types[i] >= num_types) {
            throw bad_value(std::string(name) + "[" + std::to_string(i) + "]",
                            "be in [0, " + std::to_string(num_types) + ")", py::ssize_t{types[i]});
        }
    }
}

// (num_types,) float32, each > 0 and not subnormal (its reciprocal is finite); infinity is well.
inline Array<const float> require_half_lives(const py::object& object, std::size_t num_types) {
    auto half_life_s = require<const float>(object, "half_life_s", {static_cast<py::ssize_t>(num_types)});
    for (std::size_t i = 0; i < half_life_s.size(); ++i) {
        if (!(half_life_s[i] >= std::numeric_limits<float>::min())) {
            throw bad_value("half_life_s[" + std::to_string(i) + "]", "be > 0", text_of(py::float_(half_life_s[i])));
        }
    }
    return half_life_s;
}

inline std::uint32_t checked_interactions(py::ssize_t min_interactions) {
    if (min_interactions < 0) throw bad_value("min_interactions", "be >= 0", min_interactions);
    constexpr py::ssize_t kMost = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::uint32_t>(std::min(min_interactions, kMost));
}

}  // namespace ruvllm::bindings
