"""`ruvllm bench traces`: what the tags of a trace are worth, what is taken for the holdout, and what keeping costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np

from ruvllm.bench.corpora import read_rows
from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.bench.setup import Settings
from ruvllm.config import TuningConfig
from ruvllm.embedding import open_embedder
from ruvllm.memory import Memory
from ruvllm.tuning import CurriculumBuilder, TraceCollector
from ruvllm.tuning.decontamination import SIMILARITY
from ruvllm.tuning.redaction import Redactor
from ruvllm.tuning.subjects import Subjects
from ruvllm.tuning.tags import text_difficulty
from ruvllm.types import Embedder, Feedback, Interaction, Message, Route

__all__ = ["run"]

MOST = 100  # questions of one set
PAIRS = 600  # of sentences
SAME, OTHER = 4.8, 4.0  # human similarity, 0 to 5, of sentences that say the same, and below which they do not
COMMITS, GROUP = 20, 64
RATED = 200

CLINC = {
    "banking": "money",
    "credit_cards": "money",
    "kitchen_and_dining": "food",
    "travel": "places and travel",
    "work": "work",
}
MMLU = {
    "professional_medicine": "health",
    "clinical_knowledge": "health",
    "elementary_mathematics": "mathematics",
    "high_school_mathematics": "mathematics",
    "conceptual_physics": "science",
    "high_school_chemistry": "science",
    "high_school_world_history": "history and society",
    "philosophy": "history and society",
    "high_school_geography": "places and travel",
}
"""Gold classes whose domain is beyond doubt."""


@dataclass(slots=True)
class _Asked:
    """Questions with their gold domain, None where it is unknown but harmless."""

    texts: list[str] = field(default_factory=list)
    domains: list[str | None] = field(default_factory=list)

    def add(self, texts: Sequence[str], domain: str | None, rng: np.random.Generator) -> None:
        drawn = [texts[i] for i in rng.permutation(len(texts))[:MOST]]
        self.texts += drawn
        self.domains += [domain] * len(drawn)


def run(data: Path, settings: Settings) -> Report:
    """Return the figures.

    Args:
        data: folder with text/, qa/ and routing/.
    """
    embedder = settings.embedder or open_embedder(settings.config.embedding, settings.config.models)
    rng = np.random.default_rng(settings.seed)
    rows = _tags(data, embedder, rng) + _difficulty(data) + _same_question(data, embedder, rng)
    return make_report("traces", rows + _redaction(data) + _costs(settings, embedder))


def _share(name: str, values: Sequence[bool], unit: str = "share") -> Row:
    numbers = np.array(values, np.float64)
    return Row(f"{name} (n {len(numbers):,})", float(numbers.mean()), unit, bootstrap_interval(numbers))


# -- tags ------------------------------------------------------------------------------------------------------------


def _questions(data: Path, rng: np.random.Generator) -> _Asked:
    asked = _Asked()
    clinc = list(read_rows(data / "text" / "clinc150.jsonl.gz", ("text", "domain", "split")))
    for name, domain in CLINC.items():
        asked.add([row["text"] for row in clinc if row["domain"] == name and row["split"] == "val"], domain, rng)
    mmlu = list(read_rows(data / "routing" / "mmlu_2models.jsonl.gz", ("prompt", "subject")))
    for name, domain in MMLU.items():
        asked.add([row["prompt"].split("\nA.")[0] for row in mmlu if row["subject"] == name], domain, rng)
    for file, key, known in (
        ("text/banking77.jsonl.gz", "text", "money"),
        ("qa/pubmedqa_labeled.jsonl.gz", "question", "health"),
        ("routing/gsm8k_49models.jsonl.gz", "prompt", "mathematics"),
        ("qa/xquad_en_questions.jsonl.gz", "question", None),
        ("qa/nq_open.jsonl.gz", "question", None),
    ):
        asked.add([row[key] for row in read_rows(data / file, (key,))], known, rng)
    return asked


def _tags(data: Path, embedder: Embedder, rng: np.random.Generator) -> list[Row]:
    asked, subjects = _questions(data, rng), Subjects(embedder.encode)
    found = [subjects.domain_and_risk(vector) for vector in embedder.encode(asked.texts)]
    told = list(zip(asked.domains, found, strict=True))
    harmful = [risk != "low" for gold, (_, risk) in told if gold in ("health", "money")]
    harmless = [risk != "low" for gold, (_, risk) in told if gold not in ("health", "money")]
    return [
        _share("domain is the gold one, of 12", [gold == domain for gold, (domain, _) in told if gold is not None]),
        _share("health and money held to be risky", harmful),
        _share("other questions held to be risky", harmless),
    ]


def _difficulty(data: Path) -> list[Row]:
    rows = []
    for name in ("mmlu_pro_28models", "gsm8k_49models", "llmrouter_9models"):
        read = list(read_rows(data / "routing" / f"{name}.jsonl.gz", ("prompt", "score")))
        guessed = np.array([text_difficulty(row["prompt"]) for row in read])
        failed = np.array([1.0 - np.mean(list(row["score"].values())) for row in read])
        rows.append(Row(f"difficulty by words, {name}", _rank_correlation(guessed, failed), "Spearman"))
    return rows


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return (n,) ranks, the mean one for equal values."""
    _, member, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[member]
    return means


# -- what is kept out ------------------------------------------------------------------------------------------------


def _same_question(data: Path, embedder: Embedder, rng: np.random.Generator) -> list[Row]:
    rows = list(read_rows(data / "text" / "stsb.jsonl.gz", ("sentence1", "sentence2", "score")))
    different = [row for row in rows if row["score"] < OTHER]
    drawn = rng.permutation(len(different))[:PAIRS]
    rows = [row for row in rows if row["score"] >= SAME] + [different[i] for i in drawn]
    one, other = (embedder.encode([row[key] for row in rows]) for key in ("sentence1", "sentence2"))
    taken = np.einsum("ij,ij->i", one, other) >= SIMILARITY
    same = np.array([row["score"] >= SAME for row in rows])
    return [
        _share(f"sentences of the same meaning beyond a cosine of {SIMILARITY}", taken[same].tolist()),
        _share("sentences of another meaning beyond it", taken[~same].tolist()),
    ]


def _redaction(data: Path) -> list[Row]:
    if find_spec("datafog") is None or find_spec("detect_secrets") is None:
        return []
    texts = [row["text"] for row in read_rows(data / "qa" / "xquad_en_passages.jsonl.gz", ("text",))]
    redactor, started = Redactor(), time.perf_counter()
    touched = [bool(redactor.redact(text)[1]) for text in texts]
    ms = 1e3 * (time.perf_counter() - started) / len(texts)
    return [_share("encyclopedia passages that lose something", touched), Row("redaction of a passage", ms, "ms")]


# -- costs -----------------------------------------------------------------------------------------------------------


def _interaction(i: int, vector: np.ndarray, *, prompts: bool) -> Interaction:
    question = f"What did keeper {i} write on day {i % 365}?"
    messages = (Message("system", "Answer."), Message("user", f"{question} Use this text:\n\n{'word ' * 200}"))
    text = f"Keeper {i} wrote of ship {i * 7919 % 1000} and of the weather."
    return Interaction(
        id=f"a{i}",
        query=question,
        answer=text,
        namespace="default",
        session=None,
        created=time.time(),
        source_ids=(),
        used_ids=(),
        route=Route("reader", 2048, 0.0, 1.0),
        confidence=0.9,
        finish_reason="stop",
        timings_ms={},
        query_vector=vector,
        answer_vector=-vector,
        prompt=messages if prompts else (),
    )


def _costs(settings: Settings, embedder: Embedder) -> list[Row]:
    config = msgspec.structs.replace(settings.config, tuning=TuningConfig())
    seconds: Mapping[bool, list[float]] = {True: [], False: []}
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(Path(folder) / "brain", config=config, embedder=embedder) as memory,
    ):
        vectors = np.random.default_rng(settings.seed).standard_normal((2 * COMMITS * GROUP, embedder.native_dim))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for i in range(2 * COMMITS):
            prompts = i % 2 == 0
            group = [_interaction(GROUP * i + k, vectors[GROUP * i + k], prompts=prompts) for k in range(GROUP)]
            started = time.perf_counter()
            for one in group:
                memory.record(one)
            memory.flush()
            seconds[prompts].append(time.perf_counter() - started)
        rated = [trace.id for trace in memory.traces()][:RATED]
        for id in rated:
            memory.feedback(id, Feedback(rating=1, correction=f"Of ship {id}."))
        started = time.perf_counter()
        traces = TraceCollector(memory).collect()
        collected = time.perf_counter() - started
        started = time.perf_counter()
        CurriculumBuilder().build(traces)
        built = time.perf_counter() - started
    kept, plain = (float(np.median(seconds[with_prompts])) for with_prompts in (True, False))
    return [
        Row("commit of an answer with its prompt", 1e3 * kept / GROUP, "ms", peers={"without": 1e3 * plain / GROUP}),
        Row("collecting a trace", 1e3 * collected / len(traces), "ms"),
        Row("curriculum, a trace", 1e3 * built / len(traces), "ms"),
    ]
