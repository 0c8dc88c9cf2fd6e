"""Traces to what a student is trained on: examples, preferences, retrieval corrections; chosen, weighed, on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.config import TuningConfig
from ruvllm.tuning.data_card import DataCard, counted_tags
from ruvllm.tuning.decontamination import Decontaminator, Embed
from ruvllm.tuning.formats import carded, read_folder, write_folder, write_parquet
from ruvllm.tuning.pairs import MARGIN, PreferencePair, RetrievalCorrection, preference_pairs, retrieval_corrections
from ruvllm.tuning.selection import (
    Reason,
    Rules,
    may_be_chosen,
    may_be_rejected,
    may_correct_retrieval,
    why_left_out,
)
from ruvllm.tuning.trace import Trace, message_rows, messages_of
from ruvllm.types import Message

__all__ = ["Curriculum", "CurriculumBuilder", "SftExample"]

HARDEST = 3.0  # times the weight of the easiest task
CORRECTED, RATED = 2.0, 1.5  # times the weight of what nobody but a judge valued


@dataclass(frozen=True, slots=True)
class SftExample:
    """A conversation that ends with the right answer, and how much it counts; weights have a mean of 1."""

    messages: tuple[Message, ...]
    weight: float = 1.0
    trace: str = ""
    tags: Mapping[str, str | float] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """Return what a line of the file holds."""
        return {
            "messages": message_rows(self.messages),
            "weight": self.weight,
            "trace": self.trace,
            "tags": dict(self.tags),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> SftExample:
        """Return what `as_row` made a line of."""
        return cls(messages_of(row["messages"]), row["weight"], row["trace"], row["tags"])


@dataclass(frozen=True, slots=True)
class Curriculum:
    """What a student is trained on. `write` keeps it in a folder, which is all that training reads."""

    sft: tuple[SftExample, ...]
    preferences: tuple[PreferencePair, ...]
    corrections: tuple[RetrievalCorrection, ...]
    card: DataCard

    def weight_for(self, trace: Trace) -> float:
        """Return how much a trace counts among the examples, 0 where it is none."""
        return next((example.weight for example in self.sft if example.trace == trace.id), 0.0)

    def contains(self, trace: Trace) -> bool:
        """Return whether a trace is among the examples."""
        return any(example.trace == trace.id for example in self.sft)

    def write(self, folder: str | Path) -> None:
        """Write sft.jsonl, preferences.jsonl, corrections.jsonl and card.json into a new folder, all or none.

        A line of sft.jsonl is {"messages": [{"role", "content"}, ...], "weight", "trace", "tags"}; of preferences.jsonl
        {"prompt": [...], "chosen": [{"role": "assistant", "content"}], "rejected": [...], "gap", "chosen_first",
        "trace"}; of corrections.jsonl {"query", "helpful": [{"node", "text"}], "misleading": [...], "trace"}.

        Raises:
            ValueError: the folder holds something already.
            OSError: it cannot be written, or the disk is full; nothing of it is left.
        """
        write_folder(Path(folder), self.rows(), self.card)

    @classmethod
    def read(cls, folder: str | Path) -> Curriculum:
        """Return what `write` wrote.

        Raises:
            FileNotFoundError: there is no curriculum there.
            ValueError: a file was changed since.
        """
        sets, card = read_folder(Path(folder))
        return cls(
            sft=tuple(SftExample.from_row(row) for row in sets["sft"]),
            preferences=tuple(PreferencePair.from_row(row) for row in sets["preferences"]),
            corrections=tuple(RetrievalCorrection.from_row(row) for row in sets["corrections"]),
            card=card,
        )

    def to_parquet(self, folder: str | Path) -> list[Path]:
        """Write a Parquet file for each set that is not empty; return the files.

        Raises:
            ModuleNotFoundError: the extra `parquet` is not installed.
        """
        return write_parquet(Path(folder), self.rows(), self.card)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of each set, as they are written."""
        return {
            "sft": [one.as_row() for one in self.sft],
            "preferences": [one.as_row() for one in self.preferences],
            "corrections": [one.as_row() for one in self.corrections],
        }


class CurriculumBuilder:
    """Chooses and weighs traces; each method sets one thing and returns the builder.

    What stays out, in this order, and is counted in the card: traces that are too old; whose question is in the
    holdout; of contradictory ratings; revoked or on probation; of wrong context; whose answer had something taken out,
    is no model's own words, was cut off, or is of unknown or too low quality; that repeat a newer one.
    """

    def __init__(self) -> None:
        self._upweights_hard = True
        self._upweights_valuable = True
        self._min_quality = 0.7
        self._window_days = 90.0
        self._margin = MARGIN
        self._drops_wrong_context = True
        self._seed = 0

    @classmethod
    def configured(cls, section: TuningConfig) -> CurriculumBuilder:
        """Return a builder with the settings of the section [tuning]."""
        builder = cls().window_days(section.window_days).filter_bad_quality(section.min_quality)
        return builder.preference_margin(section.preference_margin)

    def upweight_hard_tasks(self, wanted: bool = True) -> CurriculumBuilder:
        """Let the hardest task count HARDEST times as much as the easiest."""
        self._upweights_hard = wanted
        return self

    def upweight_valuable_tasks(self, wanted: bool = True) -> CurriculumBuilder:
        """Let what users corrected or rated count more than what only a judge valued."""
        self._upweights_valuable = wanted
        return self

    def filter_bad_quality(self, min_quality: float) -> CurriculumBuilder:
        """Leave out answers of a lower quality, in [0, 1]."""
        self._min_quality = _share(min_quality, "min_quality")
        return self

    def filter_wrong_context(self, wanted: bool = True) -> CurriculumBuilder:
        """Leave out examples whose passages do not help to the answer: they teach to ignore what is shown."""
        self._drops_wrong_context = wanted
        return self

    def preference_margin(self, margin: float) -> CurriculumBuilder:
        """Pair answers whose qualities differ by this much at least, in (0, 1]."""
        if _share(margin, "margin") == 0.0:
            raise ValueError("margin must be > 0: of equal answers none is to be preferred")
        self._margin = margin
        return self

    def window_days(self, days: float) -> CurriculumBuilder:
        """Leave out what is so much older than the newest trace."""
        if not 0.0 < days < float("inf"):
            raise ValueError(f"days must be > 0 ({days})")
        self._window_days = days
        return self

    def seed(self, seed: int) -> CurriculumBuilder:
        """Decide the order of the examples, and of the answers in a pair."""
        self._seed = seed
        return self

    def build(
        self,
        traces: Iterable[Trace],
        *,
        holdout: Iterable[str] = (),
        embed: Embed | None = None,
    ) -> Curriculum:
        """Return the curriculum of `traces`; the same input gives the same bytes, in whatever order it comes.

        Args:
            holdout: texts of what students are tested on; their questions and long parts are kept out.
            embed: texts to unit vectors, to keep out what says the same as the holdout in other words.

        Raises:
            ValueError: nothing is left; the message says why.
        """
        every = sorted({trace.id: trace for trace in traces}.values(), key=lambda trace: (trace.created, trace.id))
        kept_out = Decontaminator(holdout, embed)
        rules = Rules(self._min_quality, self._window_days, self._drops_wrong_context)
        reasons = why_left_out(every, rules, kept_out)
        rng = np.random.default_rng(self._seed)
        examples = self._examples([trace for trace in every if trace.id not in reasons], rng)
        pairs = preference_pairs(
            [trace for trace in every if may_be_rejected(trace, reasons)],
            {trace.id for trace in every if may_be_chosen(trace, reasons)},
            margin=self._margin,
            rng=rng,
        )
        corrections = retrieval_corrections(trace for trace in every if may_correct_retrieval(trace, reasons))
        if not (examples or pairs or corrections):
            why = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons.values()).most_common())
            raise ValueError(f"traces: nothing to train on in {len(every)} traces" + (f": {why}" if why else ""))
        made = Curriculum(examples, pairs, corrections, self._card(every, reasons, kept_out))
        return replace(made, card=carded(made.card, made.rows()))

    def _examples(self, traces: Sequence[Trace], rng: np.random.Generator) -> tuple[SftExample, ...]:
        if not traces:
            return ()
        raw = np.array([self._raw_weight(trace) for trace in traces])
        weights = raw / raw.mean()
        return tuple(
            SftExample(
                messages=(*traces[i].messages, Message("assistant", traces[i].answer)),
                weight=round(float(weights[i]), 6),
                trace=traces[i].id,
                tags={name: tag.value for name, tag in sorted(traces[i].tags.items())},
            )
            for i in rng.permutation(len(traces))
        )

    def _raw_weight(self, trace: Trace) -> float:
        weight = 1.0 + (HARDEST - 1.0) * trace.difficulty if self._upweights_hard else 1.0
        if self._upweights_valuable and trace.correction:
            return weight * CORRECTED
        if self._upweights_valuable and trace.quality_source in ("user", "task"):
            return weight * RATED
        return weight

    def _card(self, traces: Sequence[Trace], reasons: Mapping[str, Reason], holdout: Decontaminator) -> DataCard:
        within = [trace for trace in traces if reasons.get(trace.id) != "older than the window"]
        kept = [trace for trace in traces if trace.id not in reasons]
        tags, made_by = counted_tags(kept)
        return DataCard(
            traces=len(traces),
            first=within[0].created if within else None,
            last=within[-1].created if within else None,
            namespaces=tuple(sorted({trace.namespace for trace in traces})),
            left_out=_counted(reasons.values()),
            tags=tags,
            made_by=made_by,
            models=_counted(trace.checkpoint or trace.model for trace in kept),
            options={
                "upweight_hard_tasks": self._upweights_hard,
                "upweight_valuable_tasks": self._upweights_valuable,
                "min_quality": self._min_quality,
                "filter_wrong_context": self._drops_wrong_context,
                "preference_margin": self._margin,
                "window_days": self._window_days,
                "seed": self._seed,
            },
            holdout={"texts": len(holdout.texts), "sha256": holdout.sha256} if holdout.texts else {},
            redacted=_counted(kind for trace in traces for kind in trace.redacted),
        )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _share(value: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1] ({value!r})")
    return float(value)
