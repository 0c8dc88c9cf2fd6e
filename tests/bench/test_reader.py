"""The reader bench on the real reader and embedder, over three passages."""

import json
from pathlib import Path

import pytest

from ruvllm.bench.reader import CONDITIONS, run

PASSAGES = {
    "1": "The rescue sled is kept in hut three, next to the fuel store.",
    "2": "Bread is baked on Fridays by the cook of the station.",
    "3": "Terns nest on the high cliffs above the bay.",
}


@pytest.mark.real
def test_gold_context_helps_and_every_figure_is_a_row(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    corpus, questions = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    corpus.write_text("".join(json.dumps({"pid": p, "title": "", "text": t}) + "\n" for p, t in PASSAGES.items()))
    question = {"id": 1, "question": "Where is the rescue sled kept?", "answers": ["in hut three"], "gold_pids": ["1"]}
    questions.write_text(json.dumps(question) + "\n")
    asked: list[str] = []
    report = run(corpus, questions, ["smollm2-135m"], on_progress=lambda name, done, total: asked.append(name))
    values = {row.name: row.value for row in report.rows}
    assert list(values) == [*(f"smollm2-135m, {c}" for c in CONDITIONS), "smollm2-135m, gain from gold"]
    assert values["smollm2-135m, gold"] > values["smollm2-135m, none"]
    assert values["smollm2-135m, gain from gold"] == values["smollm2-135m, gold"] - values["smollm2-135m, none"]
    assert asked == [f"smollm2-135m {c}" for c in CONDITIONS]
