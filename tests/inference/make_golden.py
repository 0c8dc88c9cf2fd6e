"""Writes data/smollm2_chat_golden.json: token ids of conversations, by transformers' apply_chat_template.

usage: python tests/inference/make_golden.py MODEL_DIR    (SmolLM2-135M-Instruct, converted)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONVERSATIONS: list[list[tuple[str, str]]] = [
    [("user", "What is the capital of France?")],
    [("system", "You answer from the sources."), ("user", "Who wrote it, and when?\n\n[1] In 1851, Melville.\n")],
    [("user", "Hi!"), ("assistant", "Hello. How can I help?"), ("user", "   spaces before and after   ")],
    [("system", ""), ("user", "Nothing in the system message.")],
    [("user", "日本語と émoji 🎉 and\ttabs\r\nand 1234567890 digits")],
    [("user", "\n\nstarts with newlines"), ("assistant", ""), ("user", "x")],
    [("user", "{{ 7 * 7 }} {% for x in y %} {# no #}")],
    [("user", "word " * 300)],
]


def reference_ids(model_dir: Path, conversation: list[tuple[str, str]]) -> list[int]:
    """Return what transformers makes of a conversation."""
    from transformers import PreTrainedTokenizerFast

    settings = json.loads((model_dir / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(model_dir / "tokenizer.json"),
        bos_token=settings["bos_token"],
        eos_token=settings["eos_token"],
    )
    messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in conversation]
    return list(
        tokenizer.apply_chat_template(
            messages, chat_template=settings["chat_template"], add_generation_prompt=True, return_dict=False
        )
    )


def main(model_dir: Path) -> None:
    """Write the golden file."""
    golden = [{"conversation": c, "ids": reference_ids(model_dir, c)} for c in CONVERSATIONS]
    target = Path(__file__).parent / "data" / "smollm2_chat_golden.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text("[\n" + ",\n".join(json.dumps(g, ensure_ascii=False) for g in golden) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
