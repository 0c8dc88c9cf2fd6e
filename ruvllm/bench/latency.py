"""How long `ask` takes from end to end: an answer of 64 tokens over a prompt of 600, every stage included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files

import msgspec
import numpy as np

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.config import Config
from ruvllm.system import RuvLLM
from ruvllm.text import sentence_spans
from ruvllm.types import GenerationOptions, Response

__all__ = ["LATENCY", "run"]

LATENCY = "answer from end to end, p50"
TARGET_MS = 500.0
PROMPT_TOKENS, ANSWER_TOKENS = 600, 64
ROUNDS, WARM_UP = 20, 2
WORDS = 120  # of a question at first; more until the prompt, which holds it twice, is long enough
TASK = "Tell all of this again in your own words, at length, and leave nothing out: "


def run(config: Config, *, rounds: int = ROUNDS, on_progress: Callable[[str, int, int], None]) -> Report:
    """Return the median of whole requests on the documents of the demo; answers that end early are left out.

    Questions are long texts, each another one, so that the prompt has its tokens whatever few sentences the reader
    is shown and no cache of an earlier prompt helps but that of the system's words.
    """
    generation = msgspec.structs.replace(config.generation, context_tokens=2 * PROMPT_TOKENS, min_confidence=0.0)
    config = msgspec.structs.replace(config, generation=generation)
    options = GenerationOptions(max_new_tokens=ANSWER_TOKENS, repetition_penalty=generation.repetition_penalty)
    rng = np.random.default_rng(0)
    measured: list[Response] = []
    words = WORDS
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder, RuvLLM(folder, config=config) as llm:
        with as_file(files("ruvllm") / "demo" / "docs") as documents:
            texts = [path.read_text(encoding="utf-8") for path in sorted(documents.glob("*.md"))]
            llm.ingest(documents)
        sentences = [text[start:end] for text in texts for start, end in sentence_spans(text)]
        for done in range(3 * (rounds + WARM_UP)):
            drawn = " ".join(rng.permutation(sentences).tolist()).split()
            response = llm.ask(TASK + " ".join(drawn[:words]), options=options)
            if response.prompt_tokens < PROMPT_TOKENS:
                words += 1 + (PROMPT_TOKENS - response.prompt_tokens) // 4
            elif done >= WARM_UP and response.completion_tokens >= ANSWER_TOKENS:
                measured.append(response)
                on_progress("ask", len(measured), rounds)
            if len(measured) == rounds:
                break
    return make_report("latency", _rows(measured))


def _rows(measured: list[Response]) -> list[Row]:
    if not measured:
        return [Row(LATENCY, float("nan"), "ms", target=TARGET_MS)]
    total = np.array([response.timings_ms["total"] for response in measured])
    generate = np.array([response.timings_ms.get("generate", 0.0) for response in measured])
    p50 = float(np.median(total))
    name = f"{LATENCY} ({measured[0].route.model})"
    return [
        Row(name, p50, "ms", target=TARGET_MS, met=p50 < TARGET_MS),
        Row("the same, p95", float(np.percentile(total, 95)), "ms"),
        Row("of that generating, p50", float(np.median(generate)), "ms"),
        Row("tokens of the prompt, median", float(np.median([r.prompt_tokens for r in measured])), ""),
        Row("tokens of the answer, median", float(np.median([r.completion_tokens for r in measured])), ""),
        Row("requests measured", len(measured), ""),
    ]
