// One table of function pointers, filled from the processor; the public kernels jump through it.
#include "kernels/dispatch.hpp"

#include <atomic>
#include <cstring>

#include "kernels/exact_search.hpp"

namespace ruvllm::kernels {
namespace {

struct Table {
    Isa isa;
    decltype(&kernels::inner_products) inner_products;
    decltype(&kernels::first_bad_row) first_bad_row;
};

constexpr Table kScalar{Isa::scalar, scalar::inner_products, scalar::first_bad_row};
#ifdef RUVLLM_X86
constexpr Table kAvx2{Isa::avx2, avx2::inner_products, avx2::first_bad_row};
constexpr Table kAvx512{Isa::avx512, avx512::inner_products, avx512::first_bad_row};
#endif

const Table& table_of([[maybe_unused]] Isa isa) {
#ifdef RUVLLM_X86
    if (isa == Isa::avx512) return kAvx512;
    if (isa == Isa::avx2) return kAvx2;
#endif
    return kScalar;
}

Isa best_isa() {
    Isa best = Isa::scalar;
    for (const Isa isa : kAllIsas) {
        if (is_available(isa)) best = isa;
    }
    return best;
}

std::atomic<const Table*>& active() {
    static std::atomic<const Table*> table{&table_of(best_isa())};
    return table;
}

const Table& table() { return *active().load(std::memory_order_relaxed); }

}  // namespace

const char* name_of(Isa isa) {
    return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar";
}

bool is_available(Isa isa) {
    if (isa == Isa::scalar) return true;
#ifdef RUVLLM_X86
    // These ask the operating system too: without saved registers the answer is no.
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == Isa::avx2) return has_avx2;
    return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

Isa active_isa() { return table().isa; }

void use_isa(Isa isa) { active().store(&table_of(isa), std::memory_order_relaxed); }

bool find_isa(const char* name, Isa& isa) {
    if (name == nullptr || *name == '\0') {
        isa = best_isa();
        return true;
    }
    for (const Isa candidate : kAllIsas) {
        if (std::strcmp(name, name_of(candidate)) == 0) {
            isa = candidate;
            return is_available(candidate);
        }
    }
    return false;
}

void inner_products(const float* vectors, const std::int64_t* rows, std::size_t num_rows, const float* queries,
                    std::size_t num_queries, std::size_t dim, float* scores) {
    table().inner_products(vectors, rows, num_rows, queries, num_queries, dim, scores);
}

std::size_t first_bad_row(const float* vectors, std::size_t num_rows, std::size_t dim) {
    return table().first_bad_row(vectors, num_rows, dim);
}

}  // namespace ruvllm::kernels
