"""Where sentences begin and end."""

from __future__ import annotations

from typing import Final

from ruvllm.text import _text

__all__ = ["sentence_spans"]

# Abbreviations that do not end a sentence (compared in ASCII lower case, without the last period).
NEVER_LAST: Final = frozenset(
    """
    approx brig capt cf cmdr col cpl dr e.g eq eqs esp fig figs gen gov hon i.e lt maj messrs mlle mme mr mrs ms pp prof
    rev sen sgt st supt viz vol vols vs
    """.split()
)

# Words that are abbreviations only when a number follows: "No. 5", "Jan. 3", "et al. 2018".
BEFORE_NUMBER: Final = frozenset(
    """
    al apr art aug ca ch chap dec feb jan jul jun mar no nos nov oct op p par sec sect sep sept ver
    """.split()
)

# After initials ("U.S.", "p.m.", "J.") a sentence begins only with one of these.
STARTERS: Final = frozenset(
    """
    a after all although an and as at because before but by each for from he her here his how however i if in it its
    many more most my no now on one our she since so some that the their then there these they this those to two we
    what when where which while who why with you your
    """.split()
)

_LISTS: Final = tuple(_text.hash_terms(terms) for terms in (NEVER_LAST, BEFORE_NUMBER, STARTERS))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) character span of every sentence, in order; all that is not white space is in one.

    A sentence ends at . ! ? … (and their kin in other scripts) with the quotes and brackets that close after it, when
    white space follows; at 。！？ at once; at a blank line; and at a line break before a list item, heading or quote.
    Other line breaks are spaces. Abbreviations ("Dr.", "e.g."), initials ("U.S. Army", "J. Smith"), list numbers
    ("1. Install") and stops before a lower-case word ("well... yes") end nothing.
    """
    return _text.sentence_spans(text, *_LISTS)
