"""What the package shows, how its floors import each other, and that importing it stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ruvllm
from ruvllm import errors

PACKAGE = Path(ruvllm.__file__).parent
FLOORS = [
    {
        "types",
        "config",
        "errors",
        "closing",
        "metrics",
        "priority",
        "logs",
        "machine",
        "tracing",
        "telemetry",
        "kernels",
        "text",
        "viz",
        "whole_file",
    },
    {"models", "checkpoints", "judging"},
    {"inference", "attention", "router"},
    {"embedding"},
    {"memory"},
    {"tuning"},
    {"learning"},
    {"context", "orchestrator", "routing"},
    {"router_inputs"},
    {"pipeline", "brain_router"},
    {"system"},
    {"bench", "demo"},
    {"cli"},
]


def test_all_is_sorted_and_true() -> None:
    assert ruvllm.__all__ == sorted(ruvllm.__all__)
    assert set(ruvllm.__all__) == set(ruvllm._HOMES)
    for name in ruvllm.__all__:
        assert getattr(ruvllm, name) is not None


def test_every_error_can_be_caught_by_its_name() -> None:
    assert set(errors.__all__) <= set(ruvllm.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ruvllm.nonsense


def _floor(name: str) -> int | None:
    return next((i for i, rooms in enumerate(FLOORS) if name in rooms), None)


def _imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ruvllm":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    own = _floor(room)
    if own is None:
        assert room in ("__init__", "__main__"), f"{room} has no floor"
        return
    for other in _imported_rooms(path) - {room}:
        floor = _floor(other)
        if floor is not None:
            assert floor <= own, f"{room} imports {other}, which lies above it"


def test_only_the_kernel_face_imports_the_core() -> None:
    users = [p for p in PACKAGE.rglob("*.py") if re.search(r"\b_core\b", p.read_text(encoding="utf-8"))]
    assert {p.relative_to(PACKAGE).parts[0] for p in users} == {"kernels"}


def test_import_leaves_heavy_libraries_alone() -> None:
    heavy = "ctranslate2 hnswlib tokenizers httpx jinja2 gguf huggingface_hub apsw numpy torch transformers".split()
    code = f"import sys, ruvllm; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
