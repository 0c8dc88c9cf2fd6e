// The processor's own conversion, a vector at a time.
#include "kernels/half.hpp"
#include "kernels/simd.hpp"

namespace ruvllm::kernels::RUVLLM_VARIANT {

void widen_rows(const std::uint16_t* halves, const std::int64_t* rows, std::size_t num_rows, std::size_t dim,
                float* out) {
    for (std::size_t i = 0; i < num_rows; ++i, out += dim) {
        const std::uint16_t* row = halves + (rows ? static_cast<std::size_t>(rows[i]) : i) * dim;
        std::size_t d = 0;
        for (; d + kLanes <= dim; d += kLanes) store(out + d, load_halves(row + d));
        if (d < dim) {
            std::uint16_t rest[kLanes] = {};
            for (std::size_t j = 0; j < dim - d; ++j) rest[j] = row[d + j];
            store(out + d, load_halves(rest), first_lanes(dim - d));
        }
    }
}

}  // namespace ruvllm::kernels::RUVLLM_VARIANT
