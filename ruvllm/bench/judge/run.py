"""`ruvllm bench judge`: how well the judge tells right answers, the better of two, and questions without an answer.

What the shipped weights were fitted on is never reported: of sets that serve both, the other half is. LoCoMo serves for
measuring alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ruvllm.bench.corpora import read_corpus, read_questions
from ruvllm.bench.evaluation import documents
from ruvllm.bench.judge.dialogue import dialogue_rows
from ruvllm.bench.judge.logprobs import LogProbs
from ruvllm.bench.judge.rows import accuracy_rows, auroc_rows, calibration_rows
from ruvllm.bench.judge.sets import is_fitted, judged, pairs, solutions
from ruvllm.bench.judge.twins import brain_of, twins_of
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.config import Config
from ruvllm.learning.judge.judge import score_of
from ruvllm.learning.judge.llm import LlmJudge
from ruvllm.learning.judge.model import said, shipped
from ruvllm.types import Embedder

__all__ = ["run"]

XQUAD_TARGET = 0.80
LOGPROB_QUESTIONS = 60  # of solutions: a small model reads few a second
PAIR_SETS = {"PandaLM": ("pandalm_pairs", False), "HHH": ("hhh_pairs", None), "LLMBar": ("llmbar_pairs", None)}

Progress = Callable[[str, int, int], None]


def run(data: Path, settings: Settings, *, abstention: bool = False, model: str = "", llm: str = "") -> Report:
    """Return the figures of a folder with judge/, qa/ and memory/.

    Args:
        abstention: only the evidence-deleted twins.
        model: local model whose log-probabilities are a baseline. llm: model that judges pairs in both orders.
    """
    with open_tools(settings) as tools:
        embedder, config = tools.embedder, settings.config
        rows = _passages(data, embedder, config, settings.limit, settings.on_progress)
        scorer = None if not model else LogProbs(model, tools.cache, config)
        try:
            if not abstention:
                rows += _solutions(data, embedder, settings, scorer)
                rows += _pairs(data, embedder, settings, scorer)
            rows += dialogue_rows(data, embedder, settings, scorer, abstention=abstention)
        finally:
            if scorer is not None:
                scorer.close()
        if llm:
            rows += _by_model(data, settings, llm)
    return make_report("judge", rows)


def _passages(data: Path, embedder: Embedder, config: Config, limit: int | None, on_progress: Progress) -> list[Row]:
    """Return the row of XQuAD's twins, of passages that nothing was fitted on."""
    passages = read_corpus(data / "qa" / "xquad_en_passages.jsonl.gz")
    asked = read_questions(data / "qa" / "xquad_en_questions.jsonl.gz")
    questions = [question for question in asked if not is_fitted(question.gold_pids[0])]
    scores, groups = [], []
    with brain_of(documents(passages), embedder, config) as memory:
        for done, one in enumerate(questions[:limit], 1):
            found = twins_of(memory, one.question, frozenset(one.gold_pids), lambda node: str(node.source), k=5)
            for sources in (found.given, found.deleted):
                signals = judged(one.question, "-", sources, embedder.encode, memory.rarity)
                scores.append(said(signals, shipped()["answerable"]))
                groups.append(one.gold_pids[0])
            on_progress("XQuAD twins", done, len(questions))
    is_given = np.tile([True, False], len(scores) // 2)
    return auroc_rows(
        "XQuAD, evidence-deleted twins", np.array(scores), is_given, np.array(groups), {}, target=XQUAD_TARGET
    )


def _solutions(data: Path, embedder: Embedder, settings: Settings, scorer: LogProbs | None) -> list[Row]:
    rows: list[Row] = []
    for title, name in (("GSM8K solutions", "gsm8k_solutions"), ("MMLU-Pro solutions", "mmlu_pro_solutions")):
        path = data / "judge" / f"{name}.jsonl.gz"
        found = solutions(path, embedder.encode, fitted=False, limit=settings.limit)
        score = np.array([score_of(one.signals) for one in found])
        right = np.array([one.is_right for one in found])
        groups = np.array([one.group for one in found])
        rows += auroc_rows(title, score, right, groups, {"length": np.array([float(one.length) for one in found])})
        rows += calibration_rows(title, score, right, groups)
        if scorer is not None:
            few = [one for one in found if one.group in set(list(dict.fromkeys(groups.tolist()))[:LOGPROB_QUESTIONS])]
            logprobs = np.array([scorer(one.question, [one.answer])[0] for one in few])
            rows += auroc_rows(
                f"{title}, {LOGPROB_QUESTIONS} questions",
                np.array([score_of(one.signals) for one in few]),
                np.array([one.is_right for one in few]),
                np.array([one.group for one in few]),
                {f"log-probability by {scorer.name}": logprobs},
            )
        settings.on_progress(title, 1, 1)
    return rows


def _pairs(data: Path, embedder: Embedder, settings: Settings, scorer: LogProbs | None) -> list[Row]:
    rows: list[Row] = []
    for title, (name, fitted) in PAIR_SETS.items():
        held = pairs(data / "judge" / f"{name}.jsonl.gz", fitted=fitted)[: settings.limit]
        leads, baselines = [], _baselines(scorer)
        for one in held:
            both = [
                judged(one.instruction, answer, (), embedder.encode, lambda terms: np.ones(len(terms)))
                for answer in (one.better, one.worse)
            ]
            better, worse = (score_of(signals) for signals in both)
            leads.append(better - worse)
            baselines["length"].append(float(len(one.better) - len(one.worse)))
            if scorer is not None:
                first, second = scorer(one.instruction, [one.better, one.worse])
                baselines[f"log-probability by {scorer.name}"].append(first - second)
        groups = np.array([one.instruction for one in held])
        peers = {peer: np.array(values) for peer, values in baselines.items()}
        rows += accuracy_rows(title, np.array(leads), groups, peers)
        settings.on_progress(title, 1, 1)
    return rows


def _baselines(scorer: LogProbs | None) -> dict[str, list[float]]:
    names: Sequence[str] = ("length",) if scorer is None else ("length", f"log-probability by {scorer.name}")
    return {name: [] for name in names}


def _by_model(data: Path, settings: Settings, llm: str) -> list[Row]:
    """Return the pair accuracy of a model that is asked in both orders."""
    from contextlib import nullcontext

    from ruvllm.inference import open_engine

    engine = open_engine(llm, settings.config.generation, settings.config.models)
    judge = LlmJudge(lambda _: nullcontext(engine))
    rows: list[Row] = []
    try:
        for title, (name, fitted) in PAIR_SETS.items():
            held = pairs(data / "judge" / f"{name}.jsonl.gz", fitted=fitted)[: settings.limit]
            leads = [judge.prefers_first(one.instruction, one.better, one.worse) - 0.5 for one in held]
            groups = np.array([one.instruction for one in held])
            rows += accuracy_rows(f"{title}, judged by {llm} in both orders", np.array(leads), groups, {})
    finally:
        engine.close()
    return rows
