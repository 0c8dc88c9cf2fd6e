"""`python -m ruvllm` is the `ruvllm` command."""

from ruvllm.cli import main

main()
