// How a kernel is declared: once, for its public name and for every variant.
#pragma once

// RUVLLM_KERNEL(void f(...)) declares kernels::f, which jumps to the variant in use (defined in F.cpp), the definition
// scalar::f (F_scalar.cpp), and avx2::f and avx512::f (F_simd.cpp, compiled once for each).
#define RUVLLM_KERNEL(...)              \
    __VA_ARGS__;                        \
    namespace scalar { __VA_ARGS__; }   \
    namespace avx2 { __VA_ARGS__; }     \
    namespace avx512 { __VA_ARGS__; }
