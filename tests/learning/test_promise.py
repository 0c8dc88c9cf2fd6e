"""ruvllm/learning/promise.py: what the file of a certificate keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ruvllm.learning.promise import Issued, PromiseFile
from ruvllm.router.certificate import Certificate

CERTIFICATE = Certificate(0.7, "harm", 0.8, 0.05, 0.9, 3, 60, 0.0, 0.04, (0.5, 0.5), 0.1, "task")
ISSUED = Issued(CERTIFICATE, at=2.0, nodes=10, newest_node=12, known=30.0, good=20.0)


def test_a_certificate_is_kept_with_the_number_of_attempts(tmp_path: Path) -> None:
    file = PromiseFile(tmp_path / "certificate.json")
    file.save(ISSUED, 3)
    assert file.load() == (ISSUED, 3)


def test_to_a_certificate_of_an_older_version_every_node_is_new(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    PromiseFile(path).save(ISSUED, 3)
    fields = json.loads(path.read_text())
    fields["issued"]["interactions"] = fields["issued"].pop("newest_node")
    path.write_text(json.dumps(fields))
    issued, attempts = PromiseFile(path).load()
    assert issued is not None and (issued.newest_node, attempts) == (0, 3)


@pytest.mark.parametrize(
    "content", ["", "[]", "[" * 100_000, '{"attempts": Infinity, "issued": null}', '{"attempts": 3}']
)
def test_a_damaged_file_promises_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(content)
    assert PromiseFile(path).load() == (None, 20)
