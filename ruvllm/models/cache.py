"""The folder of converted models: where one lies, which are there, and whether they are whole."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruvllm.config import ModelsConfig, cache_dir
from ruvllm.errors import ModelDamaged, ModelMissing, ModelUnsupported
from ruvllm.models.card import CARD_FILE, ModelCard, read_card
from ruvllm.models.catalogue import catalogue

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = [
    "InstalledModel",
    "directory_name",
    "discard",
    "find",
    "installed",
    "model_lock",
    "models_dir",
    "partial_dir",
    "remove",
]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")  # a directory of the cache; anything else is a path


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model in the cache; `card` is None when the directory is damaged. `bytes` counts every file."""

    name: str
    path: Path
    bytes: int
    card: ModelCard | None


def models_dir(config: ModelsConfig) -> Path:
    """Return the folder that holds the converted models (not created here)."""
    return cache_dir(config) / "models"


def directory_name(name: str, quantization: str = "int8") -> str:
    """Return the name of a model's directory: int8 is the plain name, anything else is said."""
    return name if quantization == "int8" else f"{name}@{quantization}"


def find(name: str, config: ModelsConfig, *, task: Literal["generate", "embed"] | None = None) -> Path:
    """Return the directory of a model in the cache ("smollm2-135m", "smollm2-135m@float32") or at a path.

    Every file is checked to be there with its recorded size; `verify` reads the bytes too.

    Raises:
        ModelMissing: no such model; the message says how to get it.
        ModelDamaged: a file is missing or has another size than recorded.
        ModelUnsupported: the model is not for `task`, or was written by a later ruvllm.
        ValueError: `name` is empty.
    """
    if not name:
        raise ValueError("name must not be empty")
    is_name = _NAME.fullmatch(name) is not None
    path = models_dir(config) / name
    if not (is_name and path.is_dir()):
        path = Path(name).expanduser()
    if not path.is_dir():
        base = name.partition("@")[0]
        wanted = f" --quantization {name.partition('@')[2]}" if "@" in name else ""
        if base in catalogue():
            advice = f"get it with: ruvllm pull {base}{wanted}"
        else:
            known = f"the catalogue holds {', '.join(catalogue())}"
            advice = f"{known}; there is no such directory either" if is_name else "there is no such directory"
        raise ModelMissing(f"model {name} is not in {models_dir(config)}; {advice}", model=name)
    if not (path / CARD_FILE).is_file():
        advice = "pull it again" if path.parent == models_dir(config) else "ruvllm pull path:... converts one"
        raise ModelDamaged(f"{path} is no model directory of ruvllm: {CARD_FILE} is missing ({advice})", model=name)
    card = read_card(path)
    _require_sizes(path, card, name)
    if task == "generate" and card.task != task:  # a decoder's hidden states embed, an encoder's say nothing
        raise ModelUnsupported(f"model {name} is made to {card.task}, not to {task}", model=name)
    if task is not None and card.quantization == "hf":
        raise ModelUnsupported(f"model {name} is a folder to train from; no engine runs it", model=name)
    return path


def _require_sizes(path: Path, card: ModelCard, name: str) -> None:
    for file, record in card.files.items():
        found = (path / file).stat().st_size if (path / file).is_file() else None
        if found != record.bytes:
            state = "is missing" if found is None else f"has {found} bytes instead of {record.bytes}"
            raise ModelDamaged(f"model {name} is damaged: {path / file} {state}; pull it again", model=name)


def installed(config: ModelsConfig) -> list[InstalledModel]:
    """Return the models in the cache, by name; damaged ones are listed without a card."""
    folder = models_dir(config)
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_dir() or path.name.startswith("."):
            continue
        try:
            card = read_card(path)
            _require_sizes(path, card, path.name)
        except (ModelDamaged, ModelUnsupported) as error:
            logger.info("%s", error)
            card = None
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        found.append(InstalledModel(path.name, path, size, card))
    return found


def remove(name: str, config: ModelsConfig) -> None:
    """Delete a model from the cache; a directory given as a path is never touched.

    Raises:
        ModelMissing: it is not in the cache.
    """
    path = models_dir(config) / name
    if _NAME.fullmatch(name) is None or not path.is_dir():
        raise ModelMissing(f"model {name!r} is not in {models_dir(config)}", model=name)
    with model_lock(name, config):
        discard(path, config)
        shutil.rmtree(partial_dir(name, config), ignore_errors=True)  # a download that could be continued goes too
    logger.info("removed model %s", name)


def partial_dir(name: str, config: ModelsConfig) -> Path:
    """Return the folder where the directory `name` is made: beside its place, so that a rename moves it there."""
    return models_dir(config) / ".partial" / name


def discard(path: Path, config: ModelsConfig) -> None:
    """Delete a model's directory, renamed first so that nobody finds half of it."""
    doomed = partial_dir(path.name, config) / "removed"
    doomed.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(path, doomed)
    shutil.rmtree(doomed)


def model_lock(name: str, config: ModelsConfig) -> FileLock:
    """Return the lock that one writer of the directory `name` holds; the system frees it when the process ends."""
    from filelock import FileLock

    folder = models_dir(config) / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock")
