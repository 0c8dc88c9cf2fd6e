"""ruvllm/cli/reembed.py: the setting changes, and nothing else in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.cli.reembed import set_embedding_model

CHANGED: list[tuple[str | None, str]] = [
    (None, '[embedding]\nmodel = "new"\n'),
    ("", '[embedding]\nmodel = "new"\n'),
    ('[embedding]\nmodel = "old"\n', '[embedding]\nmodel = "new"\n'),
    ("[embedding]\ndim = 128\nmodel='old'  # small", '[embedding]\ndim = 128\nmodel="new"  # small\n'),
    ("[embedding]  # text\n[store]\n", '[embedding]  # text\nmodel = "new"\n[store]\n'),
    (
        '[generation]\nmodel = "reader"\n\n[embedding]\nmodel = "old"\n',
        '[generation]\nmodel = "reader"\n\n[embedding]\nmodel = "new"\n',
    ),
    ('[generation]\nmodel = "reader"\n', '[generation]\nmodel = "reader"\n\n[embedding]\nmodel = "new"\n'),
]


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_model_is_set_and_the_rest_stays(tmp_path: Path, before: str | None, after: str) -> None:
    file = tmp_path / "ruvllm.toml"
    if before is not None:
        file.write_text(before)
    assert set_embedding_model(file, "new")
    assert file.read_text() == after
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content",
    ['embedding.model = "old"\n', 'embedding = { model = "old" }\n', '[embedding]\nmodel = """old"""\n'],
)
def test_what_cannot_be_replaced_for_sure_stays(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ruvllm.toml"
    file.write_text(content)
    assert not set_embedding_model(file, "new")
    assert file.read_text() == content


def test_any_path_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "ruvllm.toml"
    assert set_embedding_model(file, 'C:\\models\\"mine" é')
    assert set_embedding_model(file, 'C:\\models\\"mine" é')


def test_settings_that_are_a_link_stay_one(tmp_path: Path) -> None:
    file, target = tmp_path / "ruvllm.toml", tmp_path / "common.toml"
    target.write_text("[store]\n")
    file.symlink_to(target)
    assert set_embedding_model(file, "new")
    assert file.is_symlink() and 'model = "new"' in target.read_text()
