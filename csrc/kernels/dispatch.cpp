// The instruction set in use: one value, set at import.
#include "kernels/dispatch.hpp"

#include <atomic>
#include <cstring>

#ifdef RUVLLM_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

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

#ifdef RUVLLM_X86
// Whether the processor has tiles of int8 and the system lets this process use them, which it must be asked for.
bool has_tiles() {
#ifdef __linux__
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & kTile) == 0 || (edx & kInt8) == 0) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}
#endif

}  // namespace

const char* name_of(Isa isa) {
    return isa == Isa::amx ? "amx" : isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "scalar";
}

bool is_available(Isa isa) {
    if (isa == Isa::scalar) return true;
#ifdef RUVLLM_X86
    // These ask the operating system too: without saved registers the answer is no.
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("f16c");
    if (isa == Isa::avx2) return has_avx2;
    const bool has_avx512 =
        has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    if (isa == Isa::avx512) return has_avx512;
    static const bool tiles = has_avx512 && has_tiles();
    return tiles;
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
