"""The tokenizer and chat template that a GGUF file carries in its metadata, rebuilt as tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import END_OF_TURN, TextSide

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["text_side"]

# Split patterns of the pre-tokenizers; what follows them is always GPT-2's byte mapping.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
_PRE_TOKENIZERS = ("gpt-2", "smollm", "qwen2", "llama-bpe", "lfm2")
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5  # tokenizer.ggml.token_type
_SAMPLING = {  # the vendor's defaults: ours, after general.sampling.
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}


def text_side(fields: Mapping[str, Any], model: str) -> TextSide:
    """Return tokenizer, chat template and stop tokens from GGUF metadata.

    Raises:
        ModelDamaged: tokens, merges or types are missing or do not fit together.
        ModelUnsupported: a tokenizer other than byte-level BPE, or a pre-tokenizer whose rules are not known here.
    """
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise ModelUnsupported(f"{model}: GGUF tokenizer {kind!r} with pre-tokenizer {pre!r}", model=model)
    tokens = _strings(fields, "tokenizer.ggml.tokens", model)
    types = fields.get("tokenizer.ggml.token_type", [1] * len(tokens))
    if len(types) != len(tokens):
        raise ModelDamaged(f"{model}: {len(types)} token types for {len(tokens)} tokens", model=model)
    while types and types[-1] == _UNUSED:  # names that fill the embedding's rows up; no text has them
        tokens, types = tokens[:-1], types[:-1]
    special = {name: _token(fields, f"tokenizer.ggml.{name}_token_id", tokens, model) for name in ("bos", "eos")}
    special["unk"] = _token(fields, "tokenizer.ggml.unknown_token_id", tokens, model)
    special["pad"] = _token(fields, "tokenizer.ggml.padding_token_id", tokens, model)
    add_bos = (
        bool(fields.get("tokenizer.ggml.add_bos_token", pre in ("llama-bpe", "lfm2"))) and special["bos"] is not None
    )
    tokenizer = _byte_level_bpe(tokens, types, _strings(fields, "tokenizer.ggml.merges", model), pre, model)
    if add_bos:
        _prepend(tokenizer, str(special["bos"]), tokens.index(str(special["bos"])))
    config: dict[str, Any] = {f"{name}_token": token for name, token in special.items() if token is not None}
    config["add_bos_token"] = add_bos
    if fields.get("tokenizer.chat_template"):
        config["chat_template"] = fields["tokenizer.chat_template"]
    context = fields.get(f"{fields.get('general.architecture')}.context_length")
    if context is not None:
        config["model_max_length"] = int(context)
    sampling = {ours: fields.get(f"general.sampling.{theirs}") for ours, theirs in _SAMPLING.items()}
    generation = {name: float(value) for name, value in sampling.items() if isinstance(value, int | float)}
    return TextSide(tokenizer.to_str(), config, _stop_tokens(fields, tokens, types, model), generation)


def _strings(fields: Mapping[str, Any], key: str, model: str) -> list[str]:
    value = fields.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ModelDamaged(f"{model}: metadata {key} is missing or no list of strings", model=model)
    return value


def _token(fields: Mapping[str, Any], key: str, tokens: list[str], model: str) -> str | None:
    index: int | None = fields.get(key)
    if index is None:
        return None
    if not 0 <= index < len(tokens):
        raise ModelDamaged(f"{model}: metadata {key} is {index}, there are {len(tokens)} tokens", model=model)
    return tokens[index]


def _byte_level_bpe(tokens: list[str], types: list[int], merges: list[str], pre: str, model: str) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    if any(merge.count(" ") != 1 for merge in merges):
        raise ModelDamaged(f"{model}: tokenizer.ggml.merges holds an entry that is no pair", model=model)
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise ModelDamaged(f"{model}: tokenizer.ggml.tokens holds a token twice", model=model)
    try:
        bpe = models.BPE(vocabulary, pairs, ignore_merges=pre == "llama-bpe")
    except Exception as error:  # the library raises bare Exception for a merge whose result is no token
        raise ModelDamaged(f"{model}: tokenizer.ggml.merges: {error}", model=model) from error
    tokenizer = Tokenizer(bpe)
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(tokens, types, strict=True)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    return tokenizer


def _pre_tokenizer(pre: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if pre == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    split = pre_tokenizers.Split(Regex(_QWEN2 if pre == "qwen2" else _LLAMA3), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _prepend(tokenizer: Tokenizer, token: str, index: int) -> None:
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, index)]
    )


def _stop_tokens(fields: Mapping[str, Any], tokens: list[str], types: list[int], model: str) -> tuple[str, ...]:
    named = [_token(fields, f"tokenizer.ggml.{name}_token_id", tokens, model) for name in ("eos", "eot", "eom")]
    controls = {token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL}
    wanted = [token for token in named if token is not None] + [token for token in END_OF_TURN if token in controls]
    return tuple(dict.fromkeys(wanted))
