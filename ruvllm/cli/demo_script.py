"""What `ruvllm demo` asks and says: questions about its documents, and news that the documents do not know."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KNOWN", "NEWS", "News"]


@dataclass(frozen=True, slots=True)
class News:
    """A fact that is in no document: `correction` is said about the answer to `question`, and `again` asks for it in
    other words; who has learnt it says `answer`."""

    question: str
    correction: str
    again: str
    answer: str


KNOWN = {
    "Who founded Tern Point Station?": "Solheim",
    "Where is the rescue sled kept?": "hut three",
    "Why is flying drones forbidden?": "terns attack",
    "How old is the ice at the lower end of the core?": "8,000 years",
    "What is the polar bear alarm?": "three short blasts",  # too hard for the default reader: a passage is quoted
    "How long does the crossing from Vardsund take?": "nineteen",
    "How much diesel does Bertha burn?": "90 litres",
    "Which rope must not be used in a storm?": "red rope",
    "When must a place on the ship be booked?": "end of March",
    "When were the batteries replaced?": "2021",
    "How many institutes use the air measurements?": "31 institutes",
    "What grows in the greenhouse?": "lettuce",
}
"""Questions that the documents answer, and what stands in the passage that does."""

NEWS = (
    News(
        "Who is the station leader?",
        "Since May the station leader is Ane Lund.",
        "Who leads the station now?",
        "Ane Lund",
    ),
    News(
        "How much does a night at the station cost?",
        "A night at the station costs 75 euros since this summer.",
        "What do visitors pay for one night?",
        "75 euros",
    ),
    News(
        "What is the name of the station's cat?",
        "The station's cat is called Pesto.",
        "What is the cat at the station called?",
        "Pesto",
    ),
    News(
        "What is the password of the guest network?",
        "The password of the guest network is written on the door of the mess.",
        "How do guests find the wifi password?",
        "door of the mess",
    ),
    News(
        "When does the cook bake bread?",
        "The cook now bakes bread on Mondays and Thursdays.",
        "On which days is fresh bread made?",
        "Mondays and Thursdays",
    ),
    News(
        "Who repairs the radios?",
        "Jonas Vik repairs the radios.",
        "Who should I ask about a broken radio?",
        "Jonas Vik",
    ),
)
"""The price and the baking days contradict the documents; the other four are new."""
