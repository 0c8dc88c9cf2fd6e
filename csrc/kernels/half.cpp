#include "kernels/half.hpp"

#include "kernels/dispatch.hpp"

namespace ruvllm::kernels {

void widen_rows(const std::uint16_t* halves, const std::int64_t* rows, std::size_t num_rows, std::size_t dim,
                float* out) {
    RUVLLM_DISPATCH(widen_rows)(halves, rows, num_rows, dim, out);
}

}  // namespace ruvllm::kernels
