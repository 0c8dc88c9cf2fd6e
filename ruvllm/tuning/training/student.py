"""From a curriculum and a base model to a student: SFT, optionally DPO, merge, convert; each step survives a kill."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.config import TrainingConfig
from ruvllm.machine import machine
from ruvllm.models.card import sha256_of
from ruvllm.tuning.training.examples import read_curriculum
from ruvllm.tuning.training.phases import Phase, run_phase
from ruvllm.tuning.training.progress import MustStop, OnProgress, PhaseReport, TrainingStopped, TrainProgress
from ruvllm.tuning.training.publish import merged, publish, quiet
from ruvllm.tuning.training.targets import family_of, lora_targets

__all__ = ["NEEDED", "Trained", "require_extra", "train_student"]

NEEDED = ("torch", "transformers", "datasets", "peft", "trl")
DEFAULTS = TrainingConfig()
PLAN, REPORT, MODEL = "plan.json", "report.json", "model"


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished student: its model directory, the phases that made it, and what to say of it in a registry."""

    model_dir: Path
    base: str
    phases: tuple[PhaseReport, ...]
    about: Mapping[str, Any]


def train_student(
    curriculum: Path,
    base: Path,
    out: Path,
    options: TrainingConfig = DEFAULTS,
    *,
    name: str = "student",
    resume: bool = False,
    on_progress: OnProgress = lambda progress: None,
    must_stop: MustStop = lambda: False,
) -> Trained:
    """Return a student of the model in `base`, trained on `curriculum`; the model itself stays as it is.

    Everything happens in `out`: a killed process leaves there what the next call with `resume` goes on from, at most a
    minute of steps behind. Given the same seed and threads, a training that was stopped ends with the same student as
    one that was not, unless its budget ended it.

    Args:
        curriculum: a folder that `Curriculum.write` wrote.
        base: a Hugging Face folder, such as `pull(..., quantization="hf")` makes of any model.
        out: an empty or new folder; with `resume` one that a call with the same arguments worked in.
        name: of the student on its card.
        must_stop: asked after each step.

    Raises:
        TrainingStopped: `must_stop` returned True.
        ModuleNotFoundError: the extra `train` is not installed.
        ModelUnsupported, ModelDamaged: `base` is of another family or not whole.
        FileNotFoundError: there is no curriculum.
        ValueError: it holds nothing to train on, a target layer does not exist, `out` holds something else, or no
            example is short enough.
        OSError: the disk is full; `out` can be resumed.
    """
    require_extra()
    targets = lora_targets(family_of(base), options.targets)
    sft, preferences, curriculum_id = read_curriculum(curriculum, dpo=options.dpo)
    general = {"general": sha256_of(Path(options.general)) if options.general else ""}
    plan = _Plan(curriculum_id, sha256_of_weights(base), _plain(options) | general)
    _claim(out, plan, resume=resume)
    phases = [Phase("sft", sft, out / "sft", targets)] if sft else []
    phases += [Phase("dpo", preferences, out / "dpo", targets)] if preferences else []
    with quiet():
        reports = _learnt(base, phases, options, on_progress, must_stop)
        if must_stop():
            raise TrainingStopped(out)
        about = _about(base, curriculum_id, options, reports)
        if not (out / MODEL).is_dir():
            on_progress(TrainProgress("merge"))
            adapters = [phase.folder / "adapter" for phase in phases]
            publish(base, adapters, out / MODEL, name=name, about=about, options=options)
    return Trained(out / MODEL, base.name, tuple(reports), about)


def _learnt(
    base: Path, phases: list[Phase], options: TrainingConfig, on_progress: OnProgress, must_stop: MustStop
) -> list[PhaseReport]:
    """Run the phases, each on what those before it learnt, and return their reports."""
    deadline = time.monotonic() + 60.0 * options.minutes if options.minutes else float("inf")
    reports: list[PhaseReport] = []
    for at, phase in enumerate(phases):
        report = _done(phase)
        if report is None:
            model, tokenizer = _loaded(base, [one.folder / "adapter" for one in phases[:at]], options)
            report = run_phase(
                phase,
                model,
                tokenizer,
                options,
                deadline=deadline,
                on_progress=on_progress,
                must_stop=must_stop,
            )
            _write_done(phase, report)
        reports.append(report)
    return reports


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a folder's training is of, the general text by its hash; a resumed one must be of the same."""

    curriculum: str
    base: str
    options: dict[str, Any]


def _claim(out: Path, plan: _Plan, *, resume: bool) -> None:
    """Make `out` this training's, or see that it is."""
    path = out / PLAN
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"out: {out} exists already, and holds no training")
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(plan))
        part.replace(path)
        return
    if not resume:
        raise ValueError(f"out: {out} holds a training already; resume it, or take another folder")
    found = msgspec.json.decode(path.read_bytes(), type=_Plan)
    may_differ = {"minutes", "threads", "schedule", "base"}
    for what, before, now in (
        ("curriculum", found.curriculum, plan.curriculum),
        ("base", found.base, plan.base),
        *((key, found.options.get(key), value) for key, value in plan.options.items() if key not in may_differ),
    ):
        if before != now:
            raise ValueError(f"{what} is another one than that of the training in {out} ({now!r}, it was {before!r})")


def _done(phase: Phase) -> PhaseReport | None:
    """Return the report of a phase that came to its end before; else clear the way for it."""
    report = phase.folder / REPORT
    if report.is_file():
        return msgspec.json.decode(report.read_bytes(), type=PhaseReport)
    phase.folder.mkdir(exist_ok=True)
    shutil.rmtree(phase.folder / "adapter", ignore_errors=True)
    return None


def _write_done(phase: Phase, report: PhaseReport) -> None:
    part = phase.folder / f"{REPORT}.part"
    part.write_bytes(msgspec.json.encode(report))
    part.replace(phase.folder / REPORT)
    for checkpoint in phase.folder.glob("checkpoint-*"):  # nothing goes back to them
        shutil.rmtree(checkpoint, ignore_errors=True)


def _loaded(base: Path, adapters: list[Path], options: TrainingConfig) -> tuple[Any, Any]:
    """Return the model that a phase starts from, what was learnt before merged into it, and its tokenizer."""
    import datasets
    import torch
    import transformers

    torch.set_num_threads(options.threads or max(1, torch.get_num_threads() // 2))
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(base))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return merged(base, adapters), tokenizer


def _plain(options: TrainingConfig) -> dict[str, Any]:
    """Return options as JSON reads them back."""
    return msgspec.json.decode(msgspec.json.encode(options), type=dict[str, Any])


def sha256_of_weights(base: Path) -> str:
    """Return one hash of a Hugging Face folder's weights."""
    found = [sha256_of(file) for file in sorted(base.glob("*.safetensors"))]
    return found[0] if len(found) == 1 else ",".join(found)


def _about(base: Path, curriculum: str, options: TrainingConfig, reports: list[PhaseReport]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "base": base.name,
        "base_sha256": sha256_of_weights(base),
        "curriculum": curriculum,
        "options": _plain(options),
        "phases": [asdict(report) for report in reports],
        "made_with": {package: version(package) for package in NEEDED},
        "made_on": machine() | {"device": _device()},
    }


def _device() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def require_extra() -> None:
    """Raise ModuleNotFoundError where the extra `train` is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"training needs {', '.join(missing)}: pip install 'ruvllm[train]'", name=missing[0])
