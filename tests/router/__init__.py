"""Tests of ruvllm.router."""
