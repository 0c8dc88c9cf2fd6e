// The instruction set in use: one value, set at import.
#include "kernels/dispatch.hpp"

#include <atomic>
#include <cstring>

namespace ruvllm::kernels {
namespace {

Isa best_isa() {
    Isa best = Isa::scalar;
    for (const Isa isa : kAllIsas) {
        if (is_available(isa)) best = isa;
    }
    return best;
}

std::atomic<Isa>& active() {
    static std::atomic<Isa> isa{best_isa()};
    return isa;
}

}  // namespace

const char* name_of(Isa isa) {
    return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar";
}

bool is_available(Isa isa) {
    if (isa == Isa::scalar) return true;
#ifdef RUVLLM_X86
    // These ask the operating system too: without saved registers the answer is no.
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("f16c");
    if (isa == Isa::avx2) return has_avx2;
    return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

Isa active_isa() { return active().load(std::memory_order_relaxed); }

void use_isa(Isa isa) { active().store(isa, std::memory_order_relaxed); }

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

}  // namespace ruvllm::kernels
