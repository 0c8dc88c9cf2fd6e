"""What a brain saw, turned into a registered student: collect, hold out, train, validate, register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.checkpoints import Student, Students, students_of
from ruvllm.config import Config
from ruvllm.inference.local_model import available_threads
from ruvllm.inference.open import find_or_pull, is_remote
from ruvllm.inference.perplexity import token_windows
from ruvllm.memory.tuning_run import CURRICULUM, GENERAL, HOLDOUT, OUT, RUN, TEXT, MadeOf, clear
from ruvllm.models import PullProgress
from ruvllm.tuning.ray_jobs import LOCAL, Training, best_of, sweep, train_all
from ruvllm.tuning.training.base import base_folder
from ruvllm.tuning.training.examples import read_curriculum
from ruvllm.tuning.training.material import prepare
from ruvllm.tuning.training.own_text import write_own_text
from ruvllm.tuning.training.progress import MustStop, OnProgress, PhaseReport, RunDropped, TrainingStopped
from ruvllm.tuning.training.run_folder import Run, begun, cleared_when_hopeless, followed, held, write_run
from ruvllm.tuning.training.student import Trained, require_extra
from ruvllm.tuning.training.targets import family_of, lora_targets
from ruvllm.tuning.validation import WINDOW_TOKENS, WINDOWS, HoldoutDataset, Limits, ValidationResult, validate

__all__ = ["Hooks", "Tuned", "tune"]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a tuning came to. `result` is None where nothing was held out to validate on."""

    student: Student
    phases: tuple[PhaseReport, ...]
    result: ValidationResult | None


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a tuning tells what it does, and is told to stop."""

    on_progress: OnProgress = lambda progress: None
    on_pull: Callable[[PullProgress], None] = lambda progress: None
    on_validate: Callable[[str, int, int], None] = lambda what, done, total: None
    must_stop: MustStop = lambda: False
    apart: Callable[[Callable[[], Any]], Any] = lambda work: work()  # runs what holds a lock that others wait for


LIMITS, HOOKS = Limits(), Hooks()
NOTHING = MadeOf(0.0, (), {})


def tune(
    brain: Path,
    config: Config,
    *,
    tier: str = "",
    curriculum: Path | None = None,
    holdout: Path | None = None,
    text: Path | None = None,
    resume: bool = False,
    rates: Sequence[float] = (),
    on: str = LOCAL,
    limits: Limits = LIMITS,
    hooks: Hooks = HOOKS,
) -> Tuned:
    """Train a student on what `brain` saw, validate it against the model that answers now, and register it.

    The brain is read only, so this may run beside the process that serves it. Everything unfinished lies in
    `tuning_folder`: `resume` goes on there after a stop or a kill, with the options of then but for minutes and
    threads. What would fail again when it is resumed leaves nothing there. A student that validates is left in the
    state "validated", ready for a trial; any other is retired, with the reasons. A run whose traces the brain forgot,
    revoked or changed is not gone on with: `resume` begins anew, with the arguments of this call.

    Args:
        tier: the model to stand in for; generation.model when "".
        curriculum: a folder that is trained on instead of the brain's own traces.
        holdout: questions to validate on beside those of the brain, in a form that `HoldoutDataset.read` knows.
        text: general text that shows what was forgotten. Where neither this nor training.general is given, the
            brain's own documents stand in for both, if there are enough.
        rates: learning rates, of which the best is kept; the configured one when empty.
        on: "local", or the address of a Ray cluster whose machines see the folders of `brain` and of the base.

    Raises:
        ValueError: a run is unfinished and not to be resumed; there is nothing to train on; no model of the brain is
            called `tier`; another process tunes this brain.
        FileNotFoundError: there is no such text; ValueError: it is too short, or the student would read it in other
            tokens than the model that answers now.
        TrainingStopped: `hooks.must_stop` returned True.
        RunDropped: what it was made of was forgotten, revoked or changed meanwhile; nothing of the run is left.
    """
    threads = config.training.threads or max(1, available_threads(0) // 2)
    config = msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, threads=threads))
    brain = brain.absolute()
    with held(brain) as folder:
        hooks = _stopping(hooks, folder)
        run = begun(folder, resume=resume)
        with cleared_when_hopeless(folder):
            asked = run or _asked_for(config, tier, rates, text)
            _require_files(asked)
            if run is None:
                asked = replace(asked, made_of=prepare(brain, folder, config, curriculum, holdout))
                read_curriculum(folder / CURRICULUM, dpo=asked.options.dpo)
            students = students_of(brain)
            base = _models(asked, config, students, hooks)
            if run is None:
                run = _with_own_text(asked, brain, folder, base, config)
                write_run(folder, run)
            with followed(folder):
                trained = _trained(folder, run, base, config, on, hooks)
            student = hooks.apart(
                lambda: students.add(trained.model_dir, base=run.base, tier=run.tier, about=trained.about)
            )
            try:
                with followed(folder):
                    result = _validated(students, student, folder, config, run, limits, hooks)
            except RunDropped as error:
                why = str(error)
                if student.step == "trained":
                    hooks.apart(lambda: students.move(student.id, "retired", why=why))
                raise
        if student.step == "trained" and result is not None:
            student = hooks.apart(lambda: _judged(students, student, result))
        clear(folder)
    return Tuned(student, trained.phases, result)


def _stopping(hooks: Hooks, folder: Path) -> Hooks:
    """Return hooks that stop a training, too, whose run was deleted, and a download and a validation when told to."""

    def check() -> None:
        if hooks.must_stop():
            raise TrainingStopped(folder)

    def on_pull(progress: PullProgress) -> None:
        check()
        hooks.on_pull(progress)

    def on_validate(what: str, done: int, total: int) -> None:
        check()
        if not (folder / RUN).is_file():
            raise RunDropped
        hooks.on_validate(what, done, total)

    def must_stop() -> bool:
        return hooks.must_stop() or not (folder / RUN).is_file()

    return replace(hooks, on_pull=on_pull, on_validate=on_validate, must_stop=must_stop)


def _trained(folder: Path, run: Run, base: Path, config: Config, on: str, hooks: Hooks) -> Trained:
    own: dict[str, Any] = {"minutes": config.training.minutes, "threads": config.training.threads}
    if run.made_of.documents and run.options.anchor > 0.0:
        own["general"] = str(folder / GENERAL)
    training = Training(
        curriculum=folder / CURRICULUM,
        base=base,
        out=folder / OUT,
        options=msgspec.structs.replace(run.options, **own),
        name=f"student of {run.base}",
    )
    trainings = sweep(training, run.rates)
    return best_of(train_all(trainings, on=on, on_progress=hooks.on_progress, must_stop=hooks.must_stop))


def _asked_for(config: Config, tier: str, rates: Sequence[float], text: Path | None) -> Run:
    tier = tier or config.generation.model
    if is_remote(tier):
        raise ValueError(f"tier: {tier} is an endpoint; a student stands in for a local model")
    if tier not in (known := dict.fromkeys((*config.models.tiers, config.generation.model))):
        raise ValueError(f"tier: {tier} answers nobody here; this brain is answered by {', '.join(known)}")
    base = config.training.base or tier.partition("@")[0]
    rates = tuple(rates) or (config.training.learning_rate,)
    return Run(tier, base, config.training, rates, "" if text is None else str(text.absolute()), NOTHING)


def _require_files(run: Run) -> None:
    for name, file in (("text", run.text), ("general", run.options.general)):
        if file and not Path(file).is_file():
            raise FileNotFoundError(f"{name}: there is no file {file}")


def _models(run: Run, config: Config, students: Students, hooks: Hooks) -> Path:
    """Return the base's folder, once all that a run needs beside its curriculum is found to be there."""
    require_extra()
    tier = find_or_pull(run.tier, config.models, task="generate")
    base = base_folder(run.base, config.models, on_progress=hooks.on_pull)
    lora_targets(family_of(base), run.options.targets)
    if run.text:  # before the training, not after it
        now = students.serving(run.tier).promoted
        _require_comparable(Path(run.text), base, tier if now is None else now.path)
    return base


def _require_comparable(text: Path, base: Path, answers_now: Path) -> None:
    """Raise a ValueError unless the perplexity of a student of `base` on `text` can be compared."""
    try:
        windows = [_windows(text, one) for one in (base, answers_now)]
    except ValueError as error:
        raise ValueError(f"text: {error}") from error
    if windows[0] != windows[1]:
        raise ValueError(f"text: {base.name} and {answers_now.name} read it in other tokens, which do not compare")


def _reads_alike(text: Path, one: Path, other: Path) -> bool:
    try:
        return _windows(text, one) == _windows(text, other)
    except ValueError:  # so few tokens to one of them
        return False


def _windows(text: Path, model_dir: Path) -> list[list[int]]:
    return token_windows(text, model_dir, windows=WINDOWS, window=WINDOW_TOKENS)


def _with_own_text(run: Run, brain: Path, folder: Path, base: Path, config: Config) -> Run:
    """Return the run with the brain's own documents where no general text was given, if there are enough of them."""
    if run.text or run.options.general:
        return run
    nodes = write_own_text(brain, folder, config.tuning, base)
    return replace(run, made_of=replace(run.made_of, documents=nodes))


def _validated(
    students: Students,
    student: Student,
    folder: Path,
    config: Config,
    run: Run,
    limits: Limits,
    hooks: Hooks,
) -> ValidationResult | None:
    if not (folder / HOLDOUT).is_file():
        return None
    now = students.serving(student.tier).promoted
    baseline = now.path if now is not None else find_or_pull(student.tier, config.models, task="generate")
    text = Path(run.text) if run.text else None
    if text is None and run.made_of.documents and _reads_alike(folder / TEXT, student.path, baseline):
        text = folder / TEXT
    return validate(
        student.path,
        baseline,
        HoldoutDataset.read(folder / HOLDOUT),
        text=text,
        limits=limits,
        num_threads=config.training.threads,
        on_progress=hooks.on_validate,
    )


def _judged(students: Students, student: Student, result: ValidationResult) -> Student:
    evidence: dict[str, Any] = result.evidence()
    if result.approved_for_deployment():
        return students.move(student.id, "validated", why="validated on its holdout", evidence=evidence)
    return students.move(student.id, "retired", why=result.rejection_reason(), evidence=evidence)
