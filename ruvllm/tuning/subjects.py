"""What a question is about, by the nearest of a few example sentences; nothing here is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = ["DANGER", "DOMAINS", "HARM", "OTHER", "Subjects"]

DOMAINS: Mapping[str, tuple[str, ...]] = {
    "health": (
        "What are the symptoms of this disease, and how is it treated?",
        "Which drug lowers blood pressure in patients?",
        "Does surgery improve survival after a diagnosis of cancer?",
    ),
    "money": (
        "How do I transfer money from my bank account?",
        "What is the interest rate on my credit card?",
        "How are taxes, bills and loans paid?",
    ),
    "law": (
        "Is this contract legally binding under the law?",
        "What did the court decide in the case against the defendant?",
        "Which rights does a tenant or an employee have?",
    ),
    "technology": (
        "How do I write a function in Python?",
        "Why does my computer program crash, and how do I install the software?",
        "Which settings does the server need?",
    ),
    "mathematics": (
        "Find the value of x in this equation.",
        "How many are left if she gives away half of them?",
        "What is the probability, the mean, the derivative?",
    ),
    "science": (
        "What force acts on a body in physics?",
        "How do atoms react in chemistry?",
        "How do cells, plants and animals live and evolve?",
    ),
    "history and society": (
        "Who was king when the war began, and which party won the election?",
        "In which year was the treaty signed?",
        "What did the philosopher say about morality and society?",
    ),
    "places and travel": (
        "Where is the city, and how far is it by road?",
        "Book a flight and a hotel for my trip.",
        "Which country has the river, the mountain, the border?",
    ),
    "food": ("How do I cook this recipe, and for how long?", "Can you book a table at a restaurant?"),
    "home and everyday life": (
        "Turn on the lights and play some music.",
        "Set an alarm, a timer or a reminder, and add it to my list.",
        "What will the weather be tomorrow?",
    ),
    "work": (
        "How many vacation days do I have left at work?",
        "Schedule a meeting with my boss and my colleagues.",
    ),
    "arts and sport": (
        "Who sang the song, acted in the film, or wrote the novel?",
        "Which team won the match, and who scored?",
    ),
}
"""Domains and what is typically asked in them."""

DANGER: tuple[str, ...] = (
    "Someone is badly hurt and cannot breathe, what should I do?",
    "I want to kill myself.",
    "How can I make a bomb, a poison or a weapon?",
    "How do I break into an account and steal passwords?",
)
HARM = frozenset(("health", "money", "law"))
"""Domains in which a wrong answer does harm."""

LEAST = 0.15  # cosine below which a question is like none of the examples
OTHER = "other"


class Subjects:
    """The examples as vectors.

    Args:
        encode: texts to (n, dim) float32 unit vectors.
    """

    def __init__(self, encode: Callable[[Sequence[str]], np.ndarray]) -> None:
        self._names = [name for name, sentences in DOMAINS.items() for _ in sentences]
        self._domains = encode([sentence for sentences in DOMAINS.values() for sentence in sentences])
        self._danger = encode(DANGER)

    def domain_and_risk(self, vector: np.ndarray) -> tuple[str, str]:
        """Return the domain of the nearest example, and how much harm a wrong answer does: low, elevated or high.

        Args:
            vector: (dim,) float32, unit length.
        """
        cosines = self._domains @ vector
        best = int(cosines.argmax())
        danger = float((self._danger @ vector).max())
        domain = self._names[best] if cosines[best] >= LEAST else OTHER
        if danger > max(float(cosines[best]), LEAST):
            return domain, "high"
        return domain, "elevated" if domain in HARM else "low"
