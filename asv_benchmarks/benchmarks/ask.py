"""A whole question over the demo's documents: without a reader (retrieve), and with the default one."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import ruvllm
from ruvllm.config import load_config
from ruvllm.errors import ModelMissing

DOCUMENTS = Path(str(files("ruvllm") / "demo" / "docs"))
QUESTION = "Where is the rescue sled kept?"


class Ask:
    """Six documents, 18 passages; the answer is about 20 tokens long."""

    number = 1
    repeat = (3, 7, 20.0)
    timeout = 300

    def setup(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        try:
            self.llm = ruvllm.open(self.folder, config=load_config(overrides={"models": {"offline": True}}))
            self.llm.ingest(DOCUMENTS)
        except ModelMissing as error:
            raise NotImplementedError from error  # asv's way to skip
        self.tokens = self.llm.ask(QUESTION).completion_tokens

    def teardown(self) -> None:
        self.llm.close()
        shutil.rmtree(self.folder)

    def time_retrieve(self) -> None:
        self.llm.retrieve(QUESTION, 5)

    def time_ask(self) -> None:
        self.llm.ask(QUESTION)

    def peakmem_ask(self) -> None:
        self.llm.ask(QUESTION)

    def track_first_token(self) -> float:
        return self.llm.ask(QUESTION).timings_ms["first_token"]

    track_first_token.unit = "ms"  # type: ignore[attr-defined]
