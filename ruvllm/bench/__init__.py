"""Benchmarks behind `ruvllm bench`; asv_benchmarks share their setup code."""
