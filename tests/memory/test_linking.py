"""ruvllm/memory/linking.py and link_batch.py: which links form by themselves, whatever the order in which documents
come, and whichever of them come together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.memory.link_batch import MAX_SHARED, SHARED_LINKS
from ruvllm.memory.names import MAX_NODES
from ruvllm.types import EdgeType

OpenMemory = Callable[..., Memory]
Pair = tuple[str, str]

PETREL = {"text": "a ship that comes monthly", "title": "The Petrel", "source": "petrel"}
LETTER = {"text": "we all wait for the Petrel here", "source": "letter"}
LETTER_CITES = {("letter", "petrel")}
SPEAKERS = [
    {"speaker": "Ann", "text": "hello there", "date": "2024-05-01"},
    {"speaker": "Bob", "text": "good to see you"},
    {"speaker": "Ann", "text": "it has been long"},
]


@pytest.fixture
def linked(open_memory: OpenMemory) -> Callable[..., Memory]:
    """A memory with the given values of [linking]."""

    def open_(**linking: Any) -> Memory:
        return open_memory(config=load_config(environment={}, overrides={"linking": linking}))

    return open_


def pairs(memory: Memory, type: EdgeType) -> set[Pair]:
    """The edges of a type that hold, by the sources of their ends; a later chunk of a source is "source#position"."""
    sql = (
        "SELECT a.source, a.metadata ->> 'position', b.source, b.metadata ->> 'position' FROM edges "
        "JOIN nodes a ON a.id = src AND a.ended IS NULL JOIN nodes b ON b.id = dst AND b.ended IS NULL "
        "WHERE edges.type = ?"
    )
    return {(place(*row[:2]), place(*row[2:])) for row in memory._store.rows(sql, (type.value,))}


def place(source: str, position: int) -> str:
    return f"{Path(source).name}#{position}" if position else Path(source).name


def cites(memory: Memory) -> set[Pair]:
    return pairs(memory, EdgeType.CITES)


def files(folder: Path, **texts: str) -> list[Path]:
    """Markdown files, in the order given."""
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)
    return [folder / f"{name}.md" for name in texts]


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [[PETREL, LETTER], [LETTER, PETREL]], ids=["title first", "mention first"])
@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_mention_of_a_title_links_in_whatever_order_they_come(
    memory: Memory, documents: list[Any], is_one_batch: bool
) -> None:
    for batch in [documents] if is_one_batch else [[document] for document in documents]:
        memory.add(batch)
    assert cites(memory) == LETTER_CITES


def test_a_mention_of_a_heading_links_to_its_section(memory: Memory, tmp_path: Path) -> None:
    memory.ingest(files(tmp_path, guide="# Guide\n\nIntro.\n\n## Winter Fuel\n\nuse diesel\n", note="see winter fuel"))
    assert ("note.md", "guide.md#1") in cites(memory)


def test_a_mention_of_the_subject_that_a_text_opens_with_links(memory: Memory) -> None:
    memory.add([{"text": "Marie Curie was a physicist.", "source": "curie"}])
    memory.add([{"text": "a prize went to marie curie", "source": "prize"}])
    assert cites(memory) == {("prize", "curie")}


@pytest.mark.parametrize("title", ["x", "The", "of", "1984", "?"])
def test_titles_that_would_match_at_random_link_nothing(memory: Memory, title: str) -> None:
    memory.add([{"text": "some text", "title": title, "source": "odd"}])
    memory.add([{"text": f"the x of 1984 is {title} ?", "source": "other"}])
    assert cites(memory) == set()


def test_a_name_inside_a_longer_word_links_nothing(memory: Memory) -> None:
    memory.add([{"text": "petrels and stormpetrel", "source": "old"}])
    memory.add([PETREL | {"title": "Petrel"}, {"text": "petrels again", "source": "new"}])
    assert cites(memory) == set()


def test_a_title_that_ten_thousand_documents_have_links_nothing(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(config=load_config(environment={}, overrides={"linking": {"same_topic": 1.0}}))
    memory.add({"text": f"text number{i}", "title": "Weekly Report", "source": f"s{i}"} for i in range(10_000))
    memory.add([{"text": "as the weekly report says", "source": "reader"}])
    assert cites(memory) == set()


def test_a_title_of_a_megabyte_is_survived(memory: Memory) -> None:
    report = memory.add([{"text": "some text", "title": "long " * 200_000, "source": "odd"}, LETTER, PETREL])
    assert (report.added, report.failures) == (3, ())
    assert ("odd", "petrel") not in cites(memory)


def test_many_documents_that_are_replaced_at_once_keep_their_names(memory: Memory) -> None:
    letters = [LETTER | {"source": f"letter{i}"} for i in range(2)]
    petrels = [PETREL | {"title": "Petrel", "source": f"petrel{i}"} for i in range(MAX_NODES)]
    for version in range(2):
        memory.add(each | {"metadata": {"version": version}} for each in [*petrels, *letters])
    assert cites(memory) == {(letter["source"], petrel["source"]) for letter in letters for petrel in petrels}


def test_a_document_that_is_replaced_is_linked_anew(memory: Memory) -> None:
    memory.add([PETREL | {"title": "Petrel"}, LETTER])
    memory.add([PETREL | {"title": "Petrel", "text": "another text"}])
    assert cites(memory) == LETTER_CITES
    memory.add([LETTER | {"text": "we wait no longer"}])
    assert cites(memory) == set()


def test_forgetting_removes_names_mentions_and_edges(memory: Memory) -> None:
    memory.add([PETREL | {"title": "Petrel", "text": "in Oslo"}, LETTER | {"text": "the Petrel is in Oslo"}])
    assert cites(memory)
    for source in ("petrel", "letter"):
        memory.forget(source)
    for table in ("names", "mentions", "edges"):
        assert memory._store.value(f"SELECT count(*) FROM {table}") == 0
    memory.add([LETTER])
    assert cites(memory) == set()


def test_a_replaced_document_is_not_called_by_its_old_title(memory: Memory) -> None:
    memory.add([PETREL | {"title": "Petrel"}])
    memory.add([PETREL | {"title": "Albatross"}])
    memory.add([LETTER])
    assert memory._linker.mentioned("petrel, albatross").keys() == {"albatross"}
    assert cites(memory) == set()


def test_a_reading_process_sees_new_names(open_memory: OpenMemory) -> None:
    writer = open_memory()
    writer.add([LETTER])
    reader = open_memory(read_only=True)
    assert reader._linker.mentioned("the Petrel") == {}
    writer.add([PETREL | {"title": "Petrel"}])
    assert reader._linker.mentioned("the Petrel").keys() == {"petrel"}


# -- written links ---------------------------------------------------------------------------------------------------

PAGE = "https://example.org/page"


@pytest.mark.parametrize("order", [1, -1], ids=["target first", "link first"])
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("[b](b.md)", "b.md"),
        ("[b](<./b.md> 'title')", "b.md"),
        ("[b](b.md#set-up)", "b.md#1"),
        ("[b](b.md#nothing-here)", "b.md"),
    ],
)
def test_markdown_links_lead_to_files_and_headings(
    memory: Memory, tmp_path: Path, link: str, target: str, order: int
) -> None:
    paths = files(tmp_path, b="# Bbbb\n\nwords\n\n## Set up!\n\nmore\n", a=f"go to {link} for it")
    for path in paths[::order]:
        memory.ingest(path)
    assert cites(memory) == {("a.md", target)}


@pytest.mark.parametrize("order", [1, -1], ids=["target first", "link first"])
@pytest.mark.parametrize("text", [f"see {PAGE}.", f"({PAGE}#part)", f"see {PAGE}#part.", f"[page]({PAGE})"])
def test_urls_lead_to_the_source_of_that_name(memory: Memory, text: str, order: int) -> None:
    for document in [{"text": "words", "source": PAGE}, {"text": text, "source": "a"}][::order]:
        memory.add([document])
    assert cites(memory) == {("a", "page")}


@pytest.mark.parametrize("end", ["", ".", ")", "?!", " and"])
def test_what_ends_the_sentence_is_no_part_of_a_fragment(memory: Memory, end: str) -> None:
    turns = [{"text": "words"}, {"text": "more", "metadata": {"heading": "Top > Set up"}}]
    memory.add([{"turns": turns, "source": PAGE}, {"text": f"see {PAGE}#set-up{end}", "source": "a"}])
    assert cites(memory) == {("a", "page#1")}


def test_a_fragment_alone_leads_to_a_heading_of_the_same_file(memory: Memory, tmp_path: Path) -> None:
    memory.ingest(files(tmp_path, a="# Aaaa\n\nas [below](#the-end)\n\n## The end\n\nfinis\n"))
    assert ("a.md", "a.md#1") in cites(memory)


@pytest.mark.parametrize("text", ["[x](http://[)", "[x]()", "](((", "https://", "[x](#)", "[x](missing.md)"])
def test_broken_links_are_survived(memory: Memory, text: str) -> None:
    assert memory.add([{"text": f"words {text}", "source": "a"}]).added == 1
    assert cites(memory) == set()


# -- other links -----------------------------------------------------------------------------------------------------


def test_a_dialogue_becomes_a_node_a_turn(memory: Memory) -> None:
    report = memory.add([{"turns": SPEAKERS, "source": "chat"}])
    nodes = [memory.get(i) for (i,) in memory._store.rows("SELECT id FROM nodes ORDER BY id")]
    assert (report.added, report.chunks) == (1, 3)
    assert [node.text for node in nodes] == ["Ann: hello there", "Bob: good to see you", "Ann: it has been long"]
    assert [node.metadata.get("speaker") for node in nodes] == ["Ann", "Bob", "Ann"]
    assert [node.metadata.get("date") for node in nodes] == ["2024-05-01", None, None]
    assert pairs(memory, EdgeType.FOLLOWS) == {("chat", "chat#1"), ("chat#1", "chat#2")}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("text", "turns must be an iterable of mappings, not str"),
        (7, "turns must be an iterable of mappings, not int"),
        (["text"], "turns must hold mappings, not str"),
        ([{"speaker": "Ann"}], "turns: text must be a str, not NoneType"),
        ([{"text": "x", "who": "Ann"}], "unknown: who"),
        ([{"text": "x", "metadata": [1]}], "metadata must be a mapping"),
    ],
)
def test_bad_turns_are_refused_by_name(memory: Memory, turns: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        memory.add([{"turns": turns}])


@pytest.mark.parametrize("turns", [[], [{"text": " ", "speaker": "Ann"}], [{"text": "\ud800"}]])
def test_empty_dialogues_and_turns_are_listed(memory: Memory, turns: Any) -> None:
    report = memory.add([{"turns": turns}])
    assert (report.added, len(report.failures)) == (0, 1)


def tellers(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{"text": f"someone went to Zanzibar, number{i}", "source": f"s{i}"} for i in numbers]


def test_two_that_share_a_rare_name_are_linked(memory: Memory) -> None:
    memory.add(tellers(range(2)))
    assert pairs(memory, EdgeType.SHARED_NAME) == {("s1", "s0")}


def test_a_shared_name_links_to_the_newest_few_only(memory: Memory) -> None:
    memory.add(tellers(range(MAX_SHARED)))
    last = {pair for pair in pairs(memory, EdgeType.SHARED_NAME) if pair[0] == f"s{MAX_SHARED - 1}"}
    assert last == {(f"s{MAX_SHARED - 1}", f"s{MAX_SHARED - 2 - i}") for i in range(SHARED_LINKS)}


def test_a_name_that_many_share_is_rare_no_more(memory: Memory) -> None:
    memory.add(tellers(range(MAX_SHARED + 1)))
    turns = [{"text": f"off to Zanzibar, turn{i}"} for i in range(2 * MAX_SHARED)]
    memory.add([{"turns": turns, "source": "chat"}])
    assert not [pair for pair in pairs(memory, EdgeType.SHARED_NAME) if pair[0].startswith("chat")]


def test_the_chunk_that_opens_a_section_contains_its_others(memory: Memory, tmp_path: Path) -> None:
    long = "\n\n".join(f"word{i} " * 90 for i in range(3))
    memory.ingest(files(tmp_path, a=f"# Aaaa\n\n## One\n\n{long}\n\n### Sub\n\nsmall\n\n## Two\n\nother\n"))
    one = {("a.md", f"a.md#{i}") for i in range(1, memory.stats().nodes - 1)}
    assert pairs(memory, EdgeType.CONTAINS) == one
    assert len(one) >= 2


def similar(memory: Memory) -> set[Pair]:
    return pairs(memory, EdgeType.SAME_TOPIC)


ALIKE = [{"text": f"alpha beta gamma delta {word}", "source": word} for word in ("one", "two")]  # cosine about 0.8


@pytest.mark.parametrize(("same_topic", "found"), [(0.6, {("two", "one")}), (0.97, set()), (1.0, set())])
@pytest.mark.parametrize("is_one_batch", [True, False])
def test_neighbours_are_linked_above_the_threshold_only(
    linked: Callable[..., Memory], same_topic: float, found: set[Pair], is_one_batch: bool
) -> None:
    memory = linked(same_topic=same_topic)
    for batch in [ALIKE] if is_one_batch else [[document] for document in ALIKE]:
        memory.add(batch)
    assert similar(memory) == found


def test_a_neighbour_that_has_nearer_ones_is_not_mutual(linked: Callable[..., Memory]) -> None:
    memory = linked(same_topic=0.3, neighbours=1)
    memory.add([ALIKE[0]])
    memory.add([ALIKE[1]])
    memory.add([{"text": "alpha beta other words here", "source": "far"}])
    assert similar(memory) == {("two", "one")}


@pytest.mark.parametrize("neighbours", [1, 2])
def test_versions_that_ended_do_not_count_as_neighbours(linked: Callable[..., Memory], neighbours: int) -> None:
    memory = linked(same_topic=0.6, neighbours=neighbours)
    memory.add([ALIKE[0]])
    for version in range(4):
        memory.add([ALIKE[1] | {"metadata": {"version": version}}])
    assert similar(memory) == {("two", "one")}


EVERYTHING = [
    {"text": "in Oslo the Petrel waits, see https://example.org/x and alpha beta", "source": "a"},
    {"turns": SPEAKERS, "source": "chat"},
    {"text": "alpha beta in Oslo the Petrel waits, and see https://example.org/x", "source": "b"},
    {"text": "from Oslo to Zanzibar", "source": "c"},
    {"text": "words", "source": "https://example.org/x"},
    PETREL | {"title": "Petrel"},
]


def makers(memory: Memory) -> set[tuple[str, str]]:
    return {(type_, by) for type_, by in memory._store.rows("SELECT DISTINCT type, created_by FROM edges")}


def everything(memory: Memory, folder: Path) -> Memory:
    memory.add(EVERYTHING)
    memory.ingest(files(folder, a="# Aaaa\n\nIntro.\n\n## Part\n\nwords\n"))
    return memory


ALL_MAKERS = {
    ("Cites", "name"),
    ("Cites", "link"),
    ("Follows", "order"),
    ("Contains", "headings"),
    ("SharedName", "shared name"),
    ("SameTopic", "similarity"),
}


def test_every_edge_says_who_made_it(memory: Memory, tmp_path: Path) -> None:
    assert makers(everything(memory, tmp_path)) == ALL_MAKERS


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ({"names": False}, ("Cites", "name")),
        ({"shared_names": False}, ("SharedName", "shared name")),
        ({"contains": False}, ("Contains", "headings")),
        ({"same_topic": 1.0}, ("SameTopic", "similarity")),
        ({"neighbours": 0}, ("SameTopic", "similarity")),
    ],
)
def test_each_kind_can_be_turned_off(
    linked: Callable[..., Memory], tmp_path: Path, switch: dict[str, Any], gone: tuple[str, str]
) -> None:
    assert makers(everything(linked(**switch), tmp_path)) == ALL_MAKERS - {gone}


def test_nothing_crosses_from_one_namespace_to_another(open_memory: OpenMemory) -> None:
    with open_memory(namespace="other") as other:
        other.add([PETREL | {"title": "Petrel"}])
    memory = open_memory()
    memory.add([LETTER])
    assert cites(memory) == set()


# -- batches ---------------------------------------------------------------------------------------------------------

NAMES = ["Winter Palace", "Palace Museum", "Winter Palace Museum", "Petrel", "Ada Lovelace", "Oslo", "Zanzibar", "vLLM"]
TOPICS = ["diesel fuel for the winter", "letters from the south", "a map of old stars"]


def crowd(n: int) -> list[dict[str, Any]]:
    """Documents that mention, link and resemble each other, some of them dialogues with headings."""
    rng = random.Random(0)

    def text() -> str:
        link = rng.choice(["", f"[there](s{rng.randrange(n)}#set-up)", f"see {PAGE}{rng.randrange(n)}."])
        return f"{rng.choice(NAMES)} and {rng.choice(NAMES)}: {rng.choice(TOPICS)} {rng.randrange(9)} {link}"

    def turns() -> list[dict[str, Any]]:
        return [
            {"text": text(), "metadata": {"heading": rng.choice(["Set up", "Set up > Oslo", "End"])}} for _ in "123"
        ]

    contents: list[Callable[[], dict[str, Any]]] = [lambda: {"text": text()}, lambda: {"turns": turns()}]
    sources = [f"s{i}" if rng.random() < 0.5 else f"{PAGE}{i}" for i in range(n)]
    return [rng.choice(contents)() | {"title": rng.choice([*NAMES, ""]), "source": source} for source in sources]


def edges(memory: Memory) -> dict[tuple[str, ...], float]:
    sql = (
        "SELECT a.source, a.metadata ->> 'position', b.source, b.metadata ->> 'position', edges.type, created_by, "
        "weight FROM edges JOIN nodes a ON a.id = src JOIN nodes b ON b.id = dst"
    )
    return {(place(*row[:2]), place(*row[2:4]), *row[4:6]): row[6] for row in memory._store.rows(sql)}


@pytest.mark.parametrize("size", [2, 7, 100])
def test_it_does_not_matter_which_documents_come_together(
    open_memory: OpenMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    found = []
    for batch in (1, size):
        monkeypatch.setattr("ruvllm.memory.ingest.BATCH_DOCUMENTS", batch)
        memory = open_memory(tmp_path / f"brain{batch}")
        memory.add(crowd(60))
        found.append(edges(memory))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert makers(memory) == ALL_MAKERS
