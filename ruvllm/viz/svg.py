"""What all pictures share: text that is safe in XML, how wide it is, the colours of both backgrounds, the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

__all__ = ["PALETTE", "STYLE", "checked_file", "clean", "clipped", "framed", "stacked", "text_width", "write"]

PALETTE = ("#2f7ed8", "#d9822b", "#1f9d6b", "#c2407a", "#8a63d2", "#b59a00", "#2a9fb5", "#d1495b")
"""Told apart on white and on near-black."""

STYLE = """
text { font-family: "Noto Sans", "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; font-size: 11px;
  fill: #1b1f24; unicode-bidi: plaintext }
.title { font-size: 14px; font-weight: bold } .bold { font-weight: bold }
.paper { fill: #ffffff } .faint { fill: #5c6670 } .grid { stroke: #d9dee3 } .rim { stroke: #1b1f24 }
@media (prefers-color-scheme: dark) {
  text { fill: #e8eaed } .paper { fill: #15181c } .faint { fill: #a0a8b0 } .grid { stroke: #343a41 }
  .rim { stroke: #e8eaed }
}
"""

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")  # would turn what follows around
_JOINER = "\u200d"
_SIZE = re.compile(r'<svg [^>]*width="([\d.]+)"\s+height="([\d.]+)"')


def clean(text: object) -> str:
    """Return `text` escaped for XML and HTML, without the characters that neither can hold."""
    return escape(_NOT_XML.sub("\ufffd", str(text)))


def framed(title: str, lines: Iterable[str], *, width: float, height: float, margin: float) -> str:
    """Return a whole picture: its title at the top, `margin` from the left, then the elements of `lines`."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img">',
            f"<title>{clean(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
            f'<text class="title" x="{margin:g}" y="26">{clean(clipped(title, width - 2 * margin))}</text>',
            *lines,
            "</svg>\n",
        ]
    )


def text_width(text: str) -> float:
    """Return about how many pixels `text` takes at 11 pixels; other fonts differ by a tenth."""
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> float:
    if char == _JOINER or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return 14.0
    return 8.4 if char.isupper() or char in "mwMW@%—" else 6.9


def clipped(text: str, width: float) -> str:
    """Return `text` on one line and at most `width` pixels wide, between two characters as a reader sees them."""
    line = " ".join(_DIRECTION.sub("", text).split())
    if text_width(line) <= width:
        return line
    used, end = text_width("…"), 0
    for i, char in enumerate(line):
        used += _char_width(char)
        if used > width:
            break
        end = i + 1
    while 0 < end < len(line) and (_char_width(line[end]) == 0.0 or line[end - 1] == _JOINER):
        end -= 1
    return line[:end].rstrip() + "…"


def checked_file(file: str | Path) -> Path:
    """Return where a picture goes.

    Raises:
        ValueError: the name does not end in .svg.
        FileNotFoundError: its folder does not exist.
    """
    path = Path(file)
    if path.suffix.lower() != ".svg":
        raise ValueError(f"file must end in .svg ({str(file)!r})")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"file: the folder {path.parent} does not exist")
    return path


def stacked(svgs: Sequence[str]) -> str:
    """Return one picture with the given ones, each as `curve_svg` makes it, one below the other."""
    sizes = [_SIZE.search(svg) for svg in svgs]
    if not all(sizes):
        raise ValueError("svgs must state their width and height")
    widths, heights = zip(*((float(size[1]), float(size[2])) for size in sizes if size), strict=True)
    tops = [sum(heights[:i]) for i in range(len(heights))]
    inner = [svg.replace("<svg ", f'<svg y="{top:.0f}" ', 1) for svg, top in zip(svgs, tops, strict=True)]
    width, height = max(widths), sum(heights)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img">',
            *inner,
            "</svg>\n",
        ]
    )


def write(svg: str, file: Path) -> Path:
    """Write a picture and return where; an OSError of the same kind names `file` when that is not possible."""
    try:
        file.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise type(error)(f"file: {file} cannot be written: {error.strerror}") from error
    return file
