"""Write the golden token ids: usage: make_golden.py NAME GGUF (needs transformers and regex; run once a tokenizer).

Two references that share no code with ruvllm must agree before anything is written: transformers' tokenizer for the
same vocabulary, and a byte-pair encoder in plain Python (the rules as llama.cpp states them for the pre-tokenizer).
"""

from __future__ import annotations

import json
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import regex
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, Qwen2Tokenizer

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  leading and trailing  ",
    "tabs\tand\nnew\r\nlines\n\n\n  indented\n",
    "run of spaces          ends",
    "year 2024 costs $1,234,567.89, v1.2.3 and 0x1F",
    "½ ² Ⅷ ٣٤٥ १२३ are numbers too",
    "I'm sure they'll say it's DON'T'VE we'd 'tis",
    "naïve café Zoë straße ﬁ Ångström",
    "cafe\u0301 decomposed e\u0301 and composed \u00e9",
    "Ελληνικά, Русский, العربية, עברית, हिन्दी, ไทย",
    "中文分词测试。日本語のテスト！ 한국어 시험",
    "emoji 😀👩‍👩‍👧‍👦🇫🇷 and 𝒎𝒂𝒕𝒉",
    "zero\u200bwidth\u00a0nbsp\u3000ideographic\ufeffbom",
    "control \x00\x01\x7f characters",
    "def f(x):\n    return x**2  # square\n\nif __name__ == '__main__':\n\tprint(f(3))",
    '{"key": [1, 2.5e-3, null], "url": "https://example.org/a?b=c&d=%20#e"}',
    "<|im_start|>user\nspecial tokens in text<|im_end|>\n",
    "<|im_start|><|im_end|><|endoftext|>",
    "almost special <|im_start> <|im_end <| |>",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA................................",
]
CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?\nThree?"},
    ],
]
SPLITS = {
    "smollm": [r"\p{N}", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    "qwen2": [
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
}


class PlainBpe:
    """Byte-level BPE, slow and obvious."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.ids = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"])}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(fields["tokenizer.ggml.merges"])}
        self.pre = fields["tokenizer.ggml.pre"]
        added = [t for t, kind in zip(self.ids, fields["tokenizer.ggml.token_type"], strict=True) if kind in (3, 4)]
        self.added = set(added)
        longest_first = sorted(added, key=len, reverse=True)
        self.special = regex.compile("(" + "|".join(regex.escape(token) for token in longest_first) + ")")
        kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [b for b in range(256) if b not in kept]
        self.letters = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(rest)}

    def encode(self, text: str) -> list[int]:
        ids = []
        for part in self.special.split(text):
            if part in self.added:
                ids.append(self.ids[part])
            elif part:
                ids += self._encode_plain(unicodedata.normalize("NFC", part) if self.pre == "qwen2" else part)
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        words = [text]
        for pattern in SPLITS[self.pre]:
            words = [piece for word in words for piece in split_keeping(pattern, word)]
        return [self.ids[piece] for word in words for piece in self._merge(word)]

    def _merge(self, word: str) -> list[str]:
        pieces = [self.letters[b] for b in word.encode()]
        while len(pieces) > 1:
            pairs = {(a, b): i for i, (a, b) in reversed(list(enumerate(pairwise(pieces))))}
            best = min(pairs, key=lambda pair: self.ranks.get(pair, 1 << 60))
            if best not in self.ranks:
                break
            i = pairs[best]
            pieces[i : i + 2] = ["".join(best)]
        return pieces


def split_keeping(pattern: str, text: str) -> list[str]:
    """Return matches and the text between them, in order."""
    pieces, end = [], 0
    for match in regex.finditer(pattern, text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [piece for piece in [*pieces, text[end:]] if piece]


def from_transformers(path: Path, fields: dict[str, Any]) -> Any:
    if fields["tokenizer.ggml.pre"] == "smollm":
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        # transformers' GGUF import leaves out the digit split of the model's own tokenizer.json; it shows on ½ and ².
        bytes_last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        split = [pre_tokenizers.Digits(individual_digits=True), bytes_last]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        return tokenizer
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"]]
    added = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if kind in (3, 4)]
    tokenizer = Qwen2Tokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=merges)
    tokenizer.add_tokens(added, special_tokens=True)
    tokenizer.chat_template = fields["tokenizer.chat_template"]
    return tokenizer


def main(name: str, path: Path) -> None:
    fields = {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}
    plain, theirs = PlainBpe(fields), from_transformers(path, fields)
    texts = []
    for text in TEXTS:
        ids = plain.encode(text)
        other = theirs(text, add_special_tokens=False)["input_ids"]
        if other != ids:
            raise SystemExit(f"{text!r}: plain {ids}, transformers {other}")
        texts.append({"text": text, "ids": ids})
    chats = []
    for messages in CHATS:
        text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        chats.append({"messages": messages, "text": text, "ids": plain.encode(text)})
    out = Path(__file__).with_name("data") / f"{name}.json"
    out.write_text(json.dumps({"texts": texts, "chats": chats}, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
