// Which instruction set the kernels use: the best the processor has, unless RUVLLM_ISA names another.
#pragma once

namespace ruvllm::kernels {

// In rising order; amx is avx512 and, for the products of quantized matrices, the matrix unit.
enum class Isa { scalar, avx2, avx512, amx };
inline constexpr Isa kAllIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::amx};

const char* name_of(Isa isa);

// Whether this build has variants for `isa` and this processor can run them.
bool is_available(Isa isa);

// What the kernels use now.
Isa active_isa();

// Re-points every kernel to the variants of an available `isa`. Called once at start; afterwards only by tests and
// benchmarks, and never while a kernel runs.
void use_isa(Isa isa);

// The instruction set called `name`, or the best available one when `name` is null or empty. False when the name is
// unknown or the processor lacks it.
bool find_isa(const char* name, Isa& isa);

// RUVLLM_DISPATCH(f)(...) calls the variant of f in use. Only for files compiled without instruction-set flags.
#ifdef RUVLLM_X86
#define RUVLLM_DISPATCH(f) \
    (active_isa() >= Isa::avx512 ? avx512::f : active_isa() == Isa::avx2 ? avx2::f : scalar::f)
#else
#define RUVLLM_DISPATCH(f) (scalar::f)
#endif

}  // namespace ruvllm::kernels
