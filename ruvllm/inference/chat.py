"""Messages to token ids through the model's own chat template.

What a user wrote can never become a special token: the template is rendered with placeholders instead of contents,
special tokens are recognised in the template's own text only, and everything between two of them, contents
included, is encoded as ordinary text in one go. For texts that spell no special token the ids equal those of
`transformers`' apply_chat_template.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.inference.local_model import load_tokenizer
from ruvllm.types import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ChatTemplate"]

MAX_PRODUCT = 1 << 24  # characters, or a number, that a template may come to by multiplying
MAX_STEPS = 1 << 18  # rounds of loops, and calls of macros, in one rendering: seconds at the most where they are short
MAX_RENDER_S = 10.0  # after which no further step is taken: one may go through all numbers of a range
_STEP = "one more step"  # a filter, and the variable with the `_Steps`; no template can spell it
_OPEN, _CLOSE = "\ue000", "\ue001"  # private-use characters around the index of a message
_PLACEHOLDER = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


class ChatTemplate:
    """A chat template bound to a tokenizer; safe to share between threads.

    Args:
        source: Jinja text of the template.
        tokenizer: used for this template only; it is switched to encoding special tokens' spellings as plain text.
        special_texts: variables of the template such as bos_token.
        model: named in errors.

    Raises:
        ModelUnsupported: the template is not valid Jinja.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, special_texts: dict[str, str], *, model: str) -> None:
        import jinja2

        self._model = model
        self._special_texts = special_texts
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True
        added = tokenizer.get_added_tokens_decoder()
        self._special_ids = {token.content: token_id for token_id, token in added.items() if token.special}
        spellings = sorted(map(re.escape, self._special_ids), key=len, reverse=True)
        self._special_pattern = re.compile(f"({'|'.join(spellings)})") if spellings else None
        try:
            environment = _environment()
            self._template = environment.from_string(_counting(environment.parse(source)))
        except (jinja2.TemplateSyntaxError, RecursionError) as error:
            raise ModelUnsupported(f"{model}: chat template is not valid: {error}", model=model) from error

    @classmethod
    def from_directory(cls, model_dir: Path) -> ChatTemplate:
        """Read tokenizer.json and the template of tokenizer_config.json (or chat_template.jinja).

        Raises:
            ModelDamaged: one of the files is missing or unreadable.
            ModelUnsupported: the model has no chat template.
        """
        settings = _read_settings(model_dir)
        source = settings.get("chat_template")
        if isinstance(source, list):  # several named templates
            named = [entry for entry in source if isinstance(entry, dict)]
            source = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
        beside = model_dir / "chat_template.jinja"
        if not source and beside.exists():
            source = _read(beside, model_dir)
        if not isinstance(source, str) or not source:
            raise ModelUnsupported(f"{model_dir.name} has no chat template", model=model_dir.name)
        return cls(source, load_tokenizer(model_dir), _special_texts(settings), model=model_dir.name)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's token ids, ready for the assistant's turn.

        Raises:
            ValueError: the template refuses these messages (their order or roles).
            ModelUnsupported: the template fails, or rewrites contents, so that they cannot be kept apart from it.
        """
        ids: list[int] = []
        run = ""  # ordinary text since the last special token
        for text, is_template in self._render(messages):
            pattern = self._special_pattern if is_template else None
            for part in pattern.split(text) if pattern else (text,):
                if is_template and part in self._special_ids:
                    ids += self._encode_text(run)
                    ids.append(self._special_ids[part])
                    run = ""
                else:
                    run += part
        return ids + self._encode_text(run)

    def _encode_text(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids) if text else []

    def _render(self, messages: Sequence[Message]) -> list[tuple[str, bool]]:
        """Return the prompt as (text, is_template) parts."""
        import jinja2

        # an empty content stays empty: templates ask whether there is one
        shown = [
            {"role": m.role, "content": f"{_OPEN}{i}{_CLOSE}" if m.content else ""} for i, m in enumerate(messages)
        ]
        try:
            text = self._template.render(
                messages=shown, add_generation_prompt=True, **self._special_texts, **{_STEP: _Steps()}
            )
        except jinja2.TemplateError as error:
            raise ValueError(f"messages: the chat template of {self._model} refuses them: {error}") from error
        except Exception as error:  # whatever the template's own code comes to: a number for a text, too deep, too long
            reason = f"{type(error).__name__}: {error}"
            raise ModelUnsupported(f"the chat template of {self._model} fails: {reason}", model=self._model) from error
        pieces = _PLACEHOLDER.split(text)  # template, index, template, index, ..., template
        found = {int(index) for index in pieces[1::2]}
        wanted = {i for i, m in enumerate(messages) if m.content}
        if found != wanted or any(_OPEN in piece or _CLOSE in piece for piece in pieces[::2]):
            raise ModelUnsupported(f"the chat template of {self._model} rewrites contents", model=self._model)
        return [
            (messages[int(piece)].content, False) if i % 2 else (piece, True) for i, piece in enumerate(pieces) if piece
        ]


def _read(path: Path, model_dir: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelDamaged(f"{path}: {error}", model=model_dir.name) from error


def _read_settings(model_dir: Path) -> dict[str, Any]:
    path = model_dir / "tokenizer_config.json"
    try:
        settings = json.loads(_read(path, model_dir))
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path}: {error}", model=model_dir.name) from error
    if not isinstance(settings, dict):
        raise ModelDamaged(f"{path}: not a JSON object", model=model_dir.name)
    return settings


def _special_texts(settings: dict[str, Any]) -> dict[str, str]:
    """Return bos_token, eos_token, ... as text; each is stored as a string or as {"content": string}."""
    texts = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = settings.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            texts[name] = value
    return texts


def _environment() -> Any:
    """Return the sandbox that chat templates are written for (the same settings and names as in transformers)."""
    from jinja2 import pass_context
    from jinja2.exceptions import SecurityError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**"))  # 9**9**9 would be worked out while the template is compiled

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or not _is_short(left, right):
                raise SecurityError(f"{operator} makes too much of its operands")
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.filters[_STEP] = pass_context(_step)
    del environment.globals["lipsum"]  # which knows no end
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    return environment


def _counting(tree: Any) -> Any:
    """Return a template with a step before each round of its loops, skipped or not, and whatever may call itself."""
    from jinja2 import nodes

    for node in list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block))):
        line = node.lineno
        step = nodes.Filter(nodes.Const(True, lineno=line), _STEP, [], [], None, None, lineno=line)
        if isinstance(node, nodes.For) and node.test is not None:
            node.test = nodes.And(step, node.test, lineno=line)
        else:
            node.body.insert(0, nodes.ExprStmt(step, lineno=line))
    return tree.set_environment(tree.environment)


class _Steps:
    """Counts the steps of one rendering."""

    def __init__(self) -> None:
        self._left = MAX_STEPS
        self._deadline = time.monotonic() + MAX_RENDER_S

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError(f"more than {MAX_STEPS} rounds of loops")
        if time.monotonic() > self._deadline:
            raise RuntimeError(f"loops that take longer than {MAX_RENDER_S:g} s")


def _step(context: Any, value: bool) -> bool:
    """Return `value`, a step later."""
    context.parent[_STEP].take()
    return value


def _is_short(left: Any, right: Any) -> bool:
    """Return whether a product is not long: one factor says how often a text or a list is repeated."""
    sizes = [factor if isinstance(factor, int | float) else len(factor) for factor in (left, right)]
    return abs(sizes[0] * sizes[1]) <= MAX_PRODUCT


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)
