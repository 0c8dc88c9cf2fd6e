"""ruvllm/memory/ingest.py and readers.py: documents of every kind, good and bad."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.config import load_config
from ruvllm.errors import BrainError
from ruvllm.memory import IngestProgress, Memory
from ruvllm.memory.readers import SUFFIXES
from ruvllm.types import EdgeType, IngestReport

from .fakes import WordEmbedder


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "guide.md").write_text(
        "# Guide\n\nHow to begin.\n\n## Install\n\nRun the installer.\n\n## Use\n\nUse it well.\n"
    )
    (folder / "deep" / "note.txt").write_text("A note about llamas.")
    (folder / "ignored.py").write_text("print('not a document')")
    (folder / ".hidden.md").write_text("hidden")
    return folder


def reasons(report: IngestReport) -> dict[str, str]:
    return {Path(failure.source).name: failure.reason for failure in report.failures}


def chunks(memory: Memory, source: Path) -> list[tuple[int, str]]:
    return memory._store.rows(
        "SELECT id, text FROM nodes WHERE source = ? AND ended IS NULL ORDER BY id", (str(source),)
    )


def test_folder_is_read_with_all_below_it(memory: Memory, docs: Path) -> None:
    report = memory.ingest(docs)
    assert (report.added, report.chunks, report.failures) == (2, 4, ())
    assert [Path(s.source).name for s in memory.sources()] == ["note.txt", "guide.md"]


def test_chunks_know_their_title_heading_and_position(memory: Memory, docs: Path) -> None:
    memory.ingest(docs / "guide.md")
    node = memory.search("installer", k=1)[0].node
    assert (node.text, dict(node.metadata)) == (
        "Run the installer.",
        {"title": "Guide", "heading": "Install", "position": 1},
    )


@pytest.mark.parametrize(
    ("front", "is_private"),
    [
        ("---\nprivate: true\n---", True),
        ("---\nprivate: yes # ours\n---", True),
        ("+++\nprivate = true\n+++", True),
        ("---\nprivate: False\n---", False),
        ("+++\nprivate = false\n+++", False),
        ("---\nprivate:\n---", False),
    ],
)
def test_front_matter_says_what_is_private(memory: Memory, tmp_path: Path, front: str, is_private: bool) -> None:
    (tmp_path / "plan.md").write_text(f"{front}\nThe ship arrives.\n")
    memory.ingest(tmp_path / "plan.md")
    assert [hit.node.is_private for hit in memory.search("ship")] == [is_private]


def test_neighbouring_chunks_follow_each_other(memory: Memory, docs: Path) -> None:
    memory.ingest(docs / "guide.md")
    first, second, third = (id for id, _ in chunks(memory, docs / "guide.md"))
    edges = [(edge.src, edge.dst) for edge, _ in memory.neighbours(second, EdgeType.FOLLOWS)]
    assert edges == [(first, second), (second, third)]


def test_same_content_twice_changes_nothing(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    before = memory._store.rows("SELECT * FROM nodes")
    report = memory.ingest(docs)
    assert (report.added, report.updated, report.unchanged, report.chunks) == (0, 0, 2, 0)
    assert memory._store.rows("SELECT * FROM nodes") == before


def test_changed_file_replaces_its_chunks_under_new_ids(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    old = [id for id, _ in chunks(memory, docs / "guide.md")]
    (docs / "guide.md").write_text("# Guide\n\nAll is new.\n")
    report = memory.ingest(docs)
    new = chunks(memory, docs / "guide.md")
    assert (report.updated, report.unchanged) == (1, 1)
    assert [text for _, text in new] == ["All is new."]
    assert new[0][0] > max(old)
    assert memory.search("installer run", k=10, filter={"source": str(docs / "guide.md")})[0].node.text == "All is new."
    assert memory.check().ok


def test_vanished_file_keeps_its_chunks(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    (docs / "guide.md").unlink()
    memory.ingest(docs)
    assert len(chunks(memory, docs / "guide.md")) == 3


def test_a_link_leads_to_nothing_outside_and_to_nothing_twice(memory: Memory, docs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the key of the safe")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.txt").write_text("more secrets")
    (docs / ".kept.txt").write_text("a hidden file that is shown by a link")
    (docs / "again.md").symlink_to(docs / "guide.md")
    (docs / "shown.txt").symlink_to(docs / ".kept.txt")
    (docs / "out.txt").symlink_to(tmp_path / "secret.txt")
    (docs / "out").symlink_to(tmp_path / "elsewhere")
    report = memory.ingest(docs)
    assert {Path(one.source).name for one in memory.sources()} == {"guide.md", "note.txt", "shown.txt"}
    assert {name: reason.split(":")[0] for name, reason in reasons(report).items()} == dict.fromkeys(
        ("out", "out.txt"), "it is a link out of the folder"
    )
    assert memory.ingest(docs / "out.txt").added == 1  # by name


def test_bad_files_are_listed_and_the_rest_is_stored(open_memory: Callable[..., Memory], docs: Path) -> None:
    (docs / "empty.md").write_text(" \n")
    (docs / "binary.txt").write_bytes(b"abc\x00def")
    (docs / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (docs / "bom.txt").write_bytes(codecs.BOM_UTF8 + b"ok \xff")
    (docs / "cut.txt").write_bytes(codecs.BOM_UTF16_LE + b"a\x00b")
    (docs / "huge.txt").write_bytes(b"word " * 300)
    (docs / "bad.pdf").write_bytes(b"%PDF-1.4 nonsense")
    os.mkfifo(docs / "pipe.txt")
    (docs / "dangling.md").symlink_to(docs / "nowhere.md")
    (docs / "self.md").symlink_to(docs / "self.md")
    (docs / "loop").symlink_to(docs)
    config = load_config(environment={}, overrides={"ingest": {"max_file_bytes": 1000}})
    memory = open_memory(config=config)

    report = memory.ingest([docs, docs / "missing.md", docs / "ignored.py"])

    assert report.added == 2
    found = reasons(report)
    pdf = found.pop("bad.pdf")
    assert "PDF" in pdf
    assert found == {
        "empty.md": "it is empty",
        "binary.txt": "it is binary (a zero byte at offset 3)",
        "latin.txt": "it is not UTF-8 (byte offset 3)",
        "bom.txt": "it is not UTF-8 (byte offset 6)",
        "cut.txt": "it is not UTF-16 (byte offset 4)",
        "huge.txt": "it is larger than ingest.max_file_bytes (1500 > 1000)",
        "pipe.txt": "it is not a regular file",
        "dangling.md": "it does not exist (any more)",
        "self.md": "Too many levels of symbolic links",
        "loop": "it is a link to a folder above it",
        "missing.md": "it does not exist (any more)",
        "ignored.py": ".py is not one of .md .markdown .txt .rst .html .htm .pdf",
    }
    assert memory.check().ok


def test_unreadable_files_and_folders_are_listed(unprivileged: Path) -> None:
    docs = unprivileged / "docs"
    (docs / "closed").mkdir(parents=True)
    (docs / "good.md").write_text("good")
    (docs / "secret.md").write_text("secret")
    (docs / "secret.md").chmod(0)
    (docs / "closed").chmod(0)
    with Memory(unprivileged / "brain", embedder=WordEmbedder()) as memory:
        report = memory.ingest(docs)
    assert report.added == 1
    assert reasons(report) == {"secret.md": "Permission denied", "closed": "Permission denied"}


def test_file_that_vanishes_while_ingesting_is_listed(memory: Memory, docs: Path) -> None:
    for i in range(3):
        (docs / f"part{i}.txt").write_text(f"part {i} " * 300)

    def remove(progress: IngestProgress) -> None:
        (docs / "part2.txt").unlink(missing_ok=True)

    report = memory.ingest([docs / "part0.txt", docs / "empty-name", docs / "part2.txt"], on_progress=remove)
    assert report.added == 1
    assert reasons(report)["part2.txt"] == "it does not exist (any more)"


def test_progress_is_told_after_every_document(memory: Memory, docs: Path) -> None:
    seen: list[IngestProgress] = []
    memory.ingest(docs, on_progress=seen.append)
    assert [(p.documents_done, p.documents_total) for p in seen] == [(1, 2), (2, 2)]
    assert seen[-1].chunks == 4


def test_interrupt_between_documents_keeps_whole_documents(
    memory: Memory, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.ingest.BATCH_DOCUMENTS", 1)

    def interrupt(progress: IngestProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory.ingest(docs, on_progress=interrupt)
    assert len(memory.sources()) == 1
    assert memory.check().ok
    assert memory.ingest(docs).added == 1


def test_small_documents_are_embedded_together(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = memory._embedder()
    calls: list[int] = []
    encode = embedder.encode
    monkeypatch.setattr(embedder, "encode", lambda texts: calls.append(len(texts)) or encode(texts))
    memory.add(f"text number {i}" for i in range(50))
    assert calls == [50]


def test_what_a_slow_embedder_has_done_is_committed_after_seconds(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, clock = memory._embedder(), [0.0]
    encode = embedder.encode

    def encode_slowly(texts: Sequence[str]) -> np.ndarray:
        clock[0] += 0.1 * len(texts)
        if clock[0] > 20.0:
            raise KeyboardInterrupt
        return encode(texts)

    monkeypatch.setattr(embedder, "encode", encode_slowly)
    monkeypatch.setattr("ruvllm.memory.ingest.time.monotonic", lambda: clock[0])
    with pytest.raises(KeyboardInterrupt):
        memory.add(f"text number {i}" for i in range(400))
    assert 100 <= len(memory.sources()) < 200 and memory.check().ok
    clock[0] = -1e9
    assert memory.add(f"text number {i}" for i in range(400)).added < 300


def test_slow_files_are_committed_after_seconds(memory: Memory, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = count(0, 10)
    monkeypatch.setattr("ruvllm.memory.ingest.time.monotonic", lambda: float(next(seconds)))
    seen: list[int] = []
    memory.ingest(docs, on_progress=lambda _: seen.append(len(memory.sources())))
    assert seen == [1, 2]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_document_whose_embedding_is_unsound_fails_alone(memory: Memory, monkeypatch: Any, value: float) -> None:
    embedder = memory._embedder()
    encode = embedder.encode

    def encode_badly(texts: Sequence[str]) -> np.ndarray:
        return np.stack([encode([text])[0] * (value if "bad" in text else 1.0) for text in texts])

    monkeypatch.setattr(embedder, "encode", encode_badly)
    report = memory.add([{"text": text, "source": text} for text in ("one", "bad two", "three")])
    assert (report.added, [failure.source for failure in report.failures]) == (2, ["bad two"])
    assert [source.source for source in memory.sources()] == ["one", "three"]
    assert memory.check().ok


def test_texts_and_paths_may_be_mixed(memory: Memory, docs: Path) -> None:
    report = memory.ingest(
        [docs / "guide.md", str(docs / "deep"), "just a text", {"text": "t", "title": "T", "source": "s"}]
    )
    assert report.added == 4
    assert memory.search("just a text", k=1)[0].node.text == "just a text"
    assert memory.search("t", filter={"source": "s"})[0].node.metadata["title"] == "T"


def test_lone_name_that_does_not_exist_is_a_failure_not_a_text(memory: Memory) -> None:
    report = memory.ingest("no/such/folder")
    assert (report.added, len(report.failures)) == (0, 1)


def test_two_texts_of_one_source_are_not_mixed_up(memory: Memory) -> None:
    report = memory.add(
        [{"text": "one", "source": "s"}, {"text": "two", "source": "s"}, {"text": "one", "source": "s"}]
    )
    assert (report.added, [f.reason for f in report.failures]) == (1, ["another text of this call has the same source"])


@pytest.mark.parametrize(
    "bad", [[3], 7, {"text": "x"}, [{"txt": "x"}], [{"text": 3}], [{"text": "x", "metadata": [1]}]]
)
def test_what_is_no_source_is_an_error(memory: Memory, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"sources|text|metadata"):
        memory.ingest(bad)


@pytest.mark.parametrize("value", [{1, 2}, float("nan")])
def test_metadata_that_json_cannot_hold_is_named(memory: Memory, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^metadata: .* JSON"):
        memory.add([{"text": "hi", "metadata": {"a": value}}])


def test_empty_and_broken_texts_are_listed(memory: Memory) -> None:
    report = memory.add([" ", "\ud800", "fine"])
    assert (report.added, len(report.failures)) == (1, 2)


def test_odd_documents_are_listed_and_the_rest_is_stored(memory: Memory, docs: Path, monkeypatch: Any) -> None:
    Path(os.fsdecode(os.fsencode(docs) + b"/caf\xe9.txt")).write_text("coffee")
    (docs / "nan.md").write_text("+++\nx = nan\n+++\nBody.")
    (docs / "nested.md").write_text("+++\nx = " + "[" * 5000 + "]" * 5000 + "\n+++\nBody.")
    (docs / "section.html").write_text("<p>Body.</p><![foo[bar]]>")
    (docs / "odd.pdf").write_bytes(b"%PDF-1.4")
    monkeypatch.setitem(SUFFIXES, ".pdf", lambda content: 1 // 0)

    report = memory.ingest([docs, {"text": "t", "title": "\ud800", "source": "s"}, {"text": "t", "source": "\ud800"}])

    assert report.added == 2
    assert set(reasons(report)) == {
        "caf\\udce9.txt", "nan.md", "nested.md", "section.html", "odd.pdf", "s", "\\ud800",
    }  # fmt: skip
    assert "ZeroDivisionError" in reasons(report)["odd.pdf"]


def test_what_is_not_the_documents_fault_ends_the_ingest(memory: Memory, monkeypatch: Any) -> None:
    def fail(*_: object) -> None:
        raise BrainError("full", path=memory.path)

    for owner, name in ((memory._embedder(), "count_tokens"), (memory._store, "value")):
        with monkeypatch.context() as patch, pytest.raises(BrainError, match="full"):
            patch.setattr(owner, name, fail)
            memory.add(["one"])


FORMATS = {
    "a.md": "---\ntitle: My Title\ntags: [x, 'y z']\nauthors:\n  - Ann\n  - Bob\n---\nBody text.",
    "b.md": '+++\ntitle = "Toml"\ndate = 2020-01-01\n+++\nBody text.',
    "c.html": "<html><head><title>Page &amp; more</title><style>x{}</style></head><body><nav>menu</nav><h1>Top</h1>"
    "<p>Body <b>text</b>.</p><script>var x</script><ul><li>one<li>two</ul><pre>code  here</pre></body></html>",
    "d.rst": "Top\n===\n\nBody text.\n\nSub\n---\n\nMore::\n\n    code\n",
    "e.txt": "Body text.",
}


def test_every_format_is_read(memory: Memory, tmp_path: Path) -> None:
    for name, content in FORMATS.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "f.txt").write_bytes("Body text.".encode("utf-16"))
    memory.ingest([tmp_path / name for name in [*FORMATS, "f.txt"]])

    nodes = {
        Path(n.source or "").name: n
        for n in (memory.get(i) for (i,) in memory._store.rows("SELECT id FROM nodes WHERE text LIKE 'Body text.%'"))
    }

    assert {name: node.metadata["title"] for name, node in nodes.items()} == {
        "a.md": "My Title", "b.md": "Toml", "c.html": "Page & more", "d.rst": "Top", "e.txt": "e", "f.txt": "f",
    }  # fmt: skip
    assert nodes["a.md"].metadata["tags"] == ["x", "y z"]
    assert nodes["a.md"].metadata["authors"] == ["Ann", "Bob"]
    assert nodes["b.md"].metadata["date"] == "2020-01-01"
    assert nodes["c.html"].text == "Body text.\n\n- one\n- two\n\n```\ncode  here\n```"
    assert "menu" not in nodes["c.html"].text


def pdf(line: str) -> bytes:
    """The smallest PDF that shows a line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET"
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources {font} >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    ]
    content, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF"
    return f"{content}xref\n0 5\n0000000000 65535 f \n{table}{trailer}".encode()


def test_pdf_is_read_with_the_extra(memory: Memory, tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="the pdf extra is not installed")
    (tmp_path / "a.pdf").write_bytes(pdf("Hello from a page"))
    assert memory.ingest(tmp_path / "a.pdf").added == 1
    assert memory.search("hello")[0].node.text == "Hello from a page"


def test_pdf_without_the_extra_says_what_to_install(memory: Memory, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    (tmp_path / "a.pdf").write_bytes(pdf("Hello"))
    assert reasons(memory.ingest(tmp_path / "a.pdf")) == {"a.pdf": 'PDF needs an extra: pip install "ruvllm[pdf]"'}


def test_forget_takes_a_source_and_what_used_it(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    assert memory.forget(docs / "guide.md") == 3
    assert [Path(s.source).name for s in memory.sources()] == ["note.txt"]
    assert not memory._store.rows("SELECT 1 FROM keywords WHERE keywords MATCH 'installer'")
    assert memory._store.value("SELECT count(*) FROM vectors") == 1
    assert all("install" not in hit.node.text for hit in memory.search("installer"))
    assert memory.check().ok


def test_forget_takes_a_folder(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    assert memory.forget(f"{docs}/") == 4
    assert memory.sources() == []


def test_forget_of_an_unknown_name_is_an_error(memory: Memory, docs: Path) -> None:
    memory.ingest(docs)
    with pytest.raises(ValueError, match="nothing here is called"):
        memory.forget(str(docs)[:-1])
