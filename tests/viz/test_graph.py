"""A drawn graph is sound XML whatever the texts say, shows what is there, and is the same every time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm import viz
from ruvllm.types import Edge, EdgeType, Neighbourhood, Node, NodeType

from .graphs import pair, star

SVG = "{http://www.w3.org/2000/svg}"
CITES = Edge(1, 2, EdgeType.CITES, 0.5)


def drawn(graph: Neighbourhood, **options: int) -> ET.Element:
    return ET.fromstring(viz.draw_graph(graph, **options))


def legend(root: ET.Element) -> list[str]:
    return [text.text or "" for group in groups(root, "legend") for text in group.iter(f"{SVG}text")]


def groups(root: ET.Element, kind: str) -> list[ET.Element]:
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == kind]


def edges(root: ET.Element) -> list[ET.Element]:
    return [path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]


def tooltip(element: ET.Element) -> str:
    return element.findtext(f"{SVG}title") or ""


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_gives_sound_xml(text: str) -> None:
    root = drawn(pair(Node(1, NodeType.FACT, text), Node(2, NodeType.FACT, "b", metadata={"title": text}), CITES))
    assert len(groups(root, "node")) == 2 and len(edges(root)) == 1


def test_markup_in_a_text_stays_text() -> None:
    root = drawn(pair(Node(1, NodeType.FACT, "<script>alert(1)</script>"), Node(2, NodeType.FACT, "b"), CITES))
    assert not list(root.iter(f"{SVG}script"))
    assert "<script>alert(1)</script>" in tooltip(groups(root, "node")[0])


def test_the_legend_lists_only_what_occurs() -> None:
    assert legend(drawn(pair(Node(1, NodeType.QUERY, "a"), Node(2, NodeType.FACT, "b"), CITES))) == [
        "Query",
        "Fact",
        "Cites",
    ]


def test_every_type_has_its_own_look() -> None:
    assert set(viz.graph.NODE_LOOKS) == set(NodeType) and set(viz.graph.EDGE_LOOKS) == set(EdgeType)
    for looks in (viz.graph.NODE_LOOKS, viz.graph.EDGE_LOOKS):
        assert len(set(looks.values())) == len(looks)


def test_heavier_edges_are_wider_and_tell_their_weight() -> None:
    heavy, light = Edge(1, 2, EdgeType.CITES, 0.9, created_by="me"), Edge(2, 1, EdgeType.FOLLOWS, 0.1)
    first, second = edges(drawn(pair(Node(1, NodeType.FACT, "a"), Node(2, NodeType.FACT, "b"), heavy, light)))
    assert float(first.get("stroke-width", "")) > float(second.get("stroke-width", ""))
    assert "weight 0.90, by me" in tooltip(first)


def test_edges_between_the_same_nodes_take_different_ways() -> None:
    both = [Edge(1, 2, EdgeType.CITES), Edge(1, 2, EdgeType.FOLLOWS), Edge(2, 1, EdgeType.CITES)]
    found = edges(drawn(pair(Node(1, NodeType.FACT, "a"), Node(2, NodeType.FACT, "b"), *both)))
    middles = {tuple((path.get("d") or "").split()[1:2]) for path in found}
    assert len(middles) == 3


def test_only_the_centre_is_ringed() -> None:
    rims = [element for element in drawn(star(9)).iter() if element.get("class") == "rim"]
    assert len(rims) == 1


def test_the_same_seed_gives_the_same_picture() -> None:
    assert viz.draw_graph(star(30), seed=3) == viz.draw_graph(star(30), seed=3) != viz.draw_graph(star(30), seed=4)


def test_nothing_lies_outside_the_page() -> None:
    root = drawn(star(60, "a label that is longer than fits"))
    left, top, width, height = map(float, (root.get("viewBox") or "").split())
    for text in root.iter(f"{SVG}text"):
        assert left < float(text.get("x", "")) < left + width and top < float(text.get("y", "")) < top + height


def test_an_empty_graph_says_so() -> None:
    assert "Nothing is linked yet" in viz.draw_graph(Neighbourhood((), (), {}))


def test_where_there_is_no_room_for_the_title_the_heading_tells_nodes_apart() -> None:
    title = "The handbook of Tern Point Station"
    people, huts = ({"title": title, "heading": heading} for heading in ("People", "Huts"))
    nodes = Node(1, NodeType.DOCUMENT, "a", metadata=people), Node(2, NodeType.DOCUMENT, "b", metadata=huts)
    root = drawn(pair(*nodes, CITES))
    assert [group.findtext(f"{SVG}text") for group in groups(root, "node")] == ["People", "Huts"]
    assert tooltip(groups(root, "node")[0]).startswith(f"{title} > People")


def test_a_node_is_called_by_its_title_and_heading_or_its_words() -> None:
    assert viz.label_of(Node(1, NodeType.FACT, "text", metadata={"title": "Guide", "heading": "Use"})) == "Guide > Use"
    assert viz.label_of(Node(1, NodeType.FACT, "two\n words")) == "two words"


@pytest.mark.parametrize("name", ["graph.png", "graph", ""])
def test_a_file_that_is_no_svg_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"file must end in \.svg"):
        viz.picture(star(3), tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"file: the folder .*missing does not exist"):
        viz.picture(star(3), tmp_path / "missing" / "graph.svg")


def test_a_folder_of_the_files_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "graph.svg").mkdir()
    with pytest.raises(IsADirectoryError, match=r"file: .*graph\.svg cannot be written"):
        viz.picture(star(3), tmp_path / "graph.svg")
