"""Which instruction set is used, and who decides."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ruvllm import kernels


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # -P keeps the current folder, which may be the source tree, off the path of the interpreter
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", kernels.available_isas())
def test_the_environment_forces_an_instruction_set(name: str) -> None:
    done = run_python("from ruvllm import kernels; print(kernels.isa())", RUVLLM_ISA=name)
    assert done.stdout.strip() == name


def test_the_best_one_is_the_default() -> None:
    done = run_python("from ruvllm import kernels; print(kernels.isa())", RUVLLM_ISA="")
    assert done.stdout.strip() == kernels.available_isas()[-1]


def test_an_unknown_instruction_set_fails_at_import_and_says_which_there_are() -> None:
    done = run_python("import ruvllm.kernels", RUVLLM_ISA="mmx")
    assert done.returncode != 0
    assert f"RUVLLM_ISA must be one of {', '.join(kernels.available_isas())} on this processor (mmx)" in done.stderr


def test_a_missing_extension_fails_at_import_with_the_command_that_builds_it() -> None:
    done = run_python("import sys; sys.modules['ruvllm._core'] = None; import ruvllm.kernels")
    assert "ImportError: the compiled core ruvllm._core is missing" in done.stderr
    assert "pip install ." in done.stderr


def test_scalar_is_always_there() -> None:
    assert kernels.available_isas()[0] == "scalar"


def test_the_hook_repoints_every_kernel(isa_or_amx: str) -> None:
    assert kernels.isa() == isa_or_amx


def test_the_hook_refuses_what_is_not_there(isa_or_amx: str) -> None:
    with pytest.raises(ValueError, match="isa must be one of"):
        kernels._use_isa("neon")
    assert kernels.isa() == isa_or_amx


def test_instruction_sets_are_listed_in_rising_order() -> None:
    isas = kernels.available_isas()
    assert list(isas) == ["scalar", "avx2", "avx512", "amx"][: len(isas)]  # each needs those before it
