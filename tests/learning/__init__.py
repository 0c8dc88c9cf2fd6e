"""Tests of ruvllm.learning."""
