"""What is measured over time; the same hot paths as `ruvllm bench`."""
