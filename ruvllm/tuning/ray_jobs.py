"""Several trainings at once: here one after the other, or as tasks of a Ray cluster; needs the extra `ray` for that."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.config import TrainingConfig
from ruvllm.tuning.training.progress import MustStop, OnProgress, TrainingDiverged, TrainingStopped
from ruvllm.tuning.training.student import Trained, train_student
from ruvllm.tuning.validation import HoldoutDataset, ValidationResult, validate

__all__ = ["LOCAL", "Training", "best_of", "sweep", "train_all", "validate_all"]

LOCAL = "local"
LOOK_S = 1.0  # between two looks at whether a cluster's tasks are to be stopped


@dataclass(frozen=True, slots=True)
class Training:
    """The arguments of one `train_student`. On a cluster the folders lie where every machine sees them."""

    curriculum: Path
    base: Path
    out: Path
    options: TrainingConfig
    name: str = "student"


def sweep(training: Training, rates: Sequence[float]) -> list[Training]:
    """Return a training for each learning rate, each in a folder of its own.

    Raises:
        ValueError: there is none, or one comes twice.
    """
    if not rates or len(set(rates)) < len(rates):
        raise ValueError(f"rates must hold different learning rates ({', '.join(map(str, rates))})")
    return [
        Training(
            training.curriculum,
            training.base,
            training.out / f"rate-{rate:g}",
            msgspec.structs.replace(training.options, learning_rate=rate),
            training.name,
        )
        for rate in rates
    ]


def train_all(
    trainings: Sequence[Training],
    *,
    on: str = LOCAL,
    on_progress: OnProgress = lambda progress: None,
    must_stop: MustStop = lambda: False,
) -> list[Trained]:
    """Return a student for each training that did not diverge; those that were begun before go on, those that are done
    are read.

    Args:
        on: "local", or the address of a Ray cluster; there each training is a task of its own, and `on_progress` is
            not called.
        must_stop: asked after each step; on a cluster every second, where each training then saves its step and ends.

    Raises:
        ModuleNotFoundError: a cluster is asked for without the extra `ray`.
        TrainingDiverged: all of them did.
        What `train_student` raises.
    """
    if on != LOCAL:
        made = _trained_on_ray(on, trainings, must_stop)
    else:
        made = [_trained(training, on_progress, must_stop) for training in trainings]
    found = [one for one in made if isinstance(one, Trained)]
    if not found:
        raise made[0]
    return found


def validate_all(
    students: Sequence[Path], baseline: Path, holdout: HoldoutDataset, *, on: str = LOCAL, num_threads: int = 0
) -> list[ValidationResult]:
    """Return how each student compares with the baseline, as `validate` does, on the same machine or cluster."""
    calls = [(student, baseline, holdout, num_threads) for student in students]
    if on == LOCAL:
        return [_validated(*call) for call in calls]
    return _on_ray(on, _validated, calls, num_threads) or []


def best_of(found: Sequence[Trained]) -> Trained:
    """Return the student with the lowest loss on held-out examples, of training where there were none."""

    def loss(trained: Trained) -> float:
        last = trained.phases[-1]
        return last.loss if last.held_out_loss is None else last.held_out_loss

    return min(found, key=loss)


def _trained_on_ray(address: str, trainings: Sequence[Training], must_stop: MustStop) -> list[Any]:
    stops = [_stop_file(training) for training in trainings]
    _delete(stops)  # of one that was killed
    calls = [(training,) for training in trainings]
    threads = trainings[0].options.threads
    try:
        made = _on_ray(address, _trained_until_told, calls, threads, must_stop, stop=lambda: _create(stops))
    except Exception:  # after any other end, trainings may still have to read them
        _delete(stops)
        raise
    _delete(stops)
    if made is None:
        raise TrainingStopped(trainings[0].out)
    return made


def _create(files: Sequence[Path]) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def _delete(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _stop_file(training: Training) -> Path:
    """Return the file that tells a training on another machine to stop: `ray.cancel` can end the process that calls it,
    where the task is just being sent (a failed check in Ray 2.60)."""
    return training.out.with_name(f"{training.out.name}.stop")


def _trained_until_told(training: Training) -> Trained | TrainingDiverged:
    return _trained(training, must_stop=_stop_file(training).exists)


def _trained(
    training: Training,
    on_progress: OnProgress = lambda progress: None,
    must_stop: MustStop = lambda: False,
) -> Trained | TrainingDiverged:
    try:
        return train_student(
            training.curriculum,
            training.base,
            training.out,
            training.options,
            name=training.name,
            resume=(training.out / "plan.json").is_file(),
            on_progress=on_progress,
            must_stop=must_stop,
        )
    except TrainingDiverged as error:
        return error


def _validated(student: Path, baseline: Path, holdout: HoldoutDataset, num_threads: int) -> ValidationResult:
    return validate(student, baseline, holdout, num_threads=num_threads)


def _on_ray(
    address: str,
    work: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    threads: int,
    must_stop: MustStop = lambda: False,
    stop: Callable[[], object] = lambda: None,
) -> list[Any] | None:
    """Run `work` once for each call on the cluster and return what they return, in order; None where that was stopped.

    Args:
        stop: called when `must_stop` returned True, and when a call fails; the others are waited for.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a cluster needs ray: pip install 'ruvllm[ray]'", name="ray") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        paths = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
        ray.init(address=address, runtime_env=paths, log_to_driver=False)
    task = ray.remote(num_cpus=max(1, threads))(work)
    running = [task.remote(*call) for call in calls]
    try:
        waiting, is_stopped = running, False
        while waiting:
            done, waiting = ray.wait(waiting, timeout=LOOK_S)
            if not is_stopped and must_stop():
                is_stopped = True
                stop()
            if not is_stopped:
                ray.get(done)  # raises what failed
        return None if is_stopped else list(ray.get(running))
    except BaseException as error:
        stop()
        if not isinstance(error, Exception):  # a second Ctrl-C: nobody waits
            raise
        ray.wait(running, num_returns=len(running))
        cause = getattr(error, "cause", None)  # what the task raised, not how Ray wraps it
        if isinstance(cause, Exception):
            raise cause from error
        raise
    finally:
        if is_ours:
            ray.shutdown()
