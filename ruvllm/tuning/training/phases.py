"""One phase of a training: adapters on a frozen model, by TRL's SFT or DPO trainer, from the last saved step on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruvllm.config import TrainingConfig
from ruvllm.tuning.training.anchor import Anchor, anchored, pieces_for, read_pieces
from ruvllm.tuning.training.examples import Rows, drawn, split, tokenized
from ruvllm.tuning.training.progress import (
    EndedBy,
    MustStop,
    OnProgress,
    PhaseReport,
    TrainingDiverged,
    TrainingStopped,
    TrainProgress,
)

__all__ = ["Phase", "rows_at_once", "run_phase"]

LOOKS = 8  # at the held-out loss, in a phase; each saves
SAVE_S = 60.0  # longest time between two saves: what a kill can cost
PASS_TOKENS = 1024  # of the examples that go through the model together: activations take megabytes for each
WARMUP_SHARE = 0.05
LORA_SCALE = 2  # alpha / rank


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase needs: `rows` as TRL reads them, and a folder of its own that outlives the process."""

    name: Literal["sft", "dpo"]
    rows: Rows
    folder: Path
    targets: list[str]


def run_phase(
    phase: Phase,
    model: Any,
    tokenizer: Any,
    options: TrainingConfig,
    *,
    deadline: float,
    on_progress: OnProgress,
    must_stop: MustStop,
) -> PhaseReport:
    """Train adapters and leave them in `phase.folder`/adapter, the ones of the lowest held-out loss.

    Args:
        model: of transformers, frozen by this; in DPO it is the reference, too.
        deadline: of `time.monotonic`, after which the phase ends with what it has.

    Raises:
        TrainingStopped: `must_stop` returned True; the step is saved.
        TrainingDiverged: the loss is no number any more.
        ValueError: no example is short enough.
    """
    from datasets import Dataset

    parts = split(
        phase.rows,
        options.held_out,
        max_tokens=options.max_tokens,
        count_tokens=lambda row: _longest(tokenizer, row),
    )
    train, held_out = drawn(parts.train, options.epochs, options.seed), parts.held_out
    if phase.name == "sft":
        train, held_out = ([tokenized(tokenizer, row) for row in rows] for rows in (train, held_out))
    watch = _Watch(phase, deadline, on_progress, must_stop)
    longest = max(_longest(tokenizer, row) for row in [*parts.train, *parts.held_out])
    trainer = _trainer(
        phase,
        model,
        tokenizer,
        options,
        at_once=rows_at_once(options.batch_size, longest if phase.name == "sft" else 2 * longest),
        train=Dataset.from_list(_columns(train)),
        held_out=Dataset.from_list(_columns(held_out)) if held_out else None,
        callbacks=_callbacks(watch, options, can_look=bool(held_out)),
    )
    started = time.monotonic()
    last = _last_whole_checkpoint(phase.folder)
    trainer.train(resume_from_checkpoint=str(last) if last is not None else None)
    spent = watch.spent_before_s + time.monotonic() - started
    if watch.ended_by is None:
        raise TrainingStopped(phase.folder.parent)
    looks = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not math.isfinite(losses[-1]) or not all(map(math.isfinite, looks)):
        rate = trainer.args.learning_rate
        raise TrainingDiverged(f"learning_rate: at {rate:g} the loss of {phase.name} is no number any more")
    _save_adapter(trainer.model, phase.folder)
    return PhaseReport(
        name=phase.name,
        examples=len(parts.train),
        held_out=len(parts.held_out),
        too_long=parts.too_long,
        steps=trainer.state.global_step,
        loss=float(losses[-1]),
        before_loss=float(looks[0]) if looks else None,
        held_out_loss=float(min(looks)) if looks else None,
        ended_by=watch.ended_by,
        seconds=round(spent, 1),
    )


def _trainer(
    phase: Phase,
    model: Any,
    tokenizer: Any,
    options: TrainingConfig,
    *,
    at_once: int,
    train: Any,
    held_out: Any,
    callbacks: list[Any],
) -> Any:
    import torch
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    steps = -(-len(train) // options.batch_size)
    every = max(1, steps // LOOKS)
    on_gpu = torch.cuda.is_available()
    common: dict[str, Any] = {
        "output_dir": str(phase.folder),
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": options.batch_size // at_once,
        "per_device_eval_batch_size": at_once,
        "num_train_epochs": 1,  # the rows are in order, each as often as it comes
        "train_sampling_strategy": "sequential",
        "learning_rate": options.learning_rate if phase.name == "sft" else options.dpo_learning_rate,
        "warmup_steps": round(WARMUP_SHARE * steps),
        "weight_decay": 0.0,
        "max_length": None,  # what is too long was left out
        "gradient_checkpointing": False,
        "bf16": on_gpu or _has_fast_bf16(),
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "seed": options.seed,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "eval_strategy": "steps" if held_out is not None else "no",
        "eval_steps": every,
        "eval_on_start": held_out is not None,
        "load_best_model_at_end": held_out is not None,
        "metric_for_best_model": "eval_loss" if held_out is not None else None,
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,  # how long the held-out loss has not fallen
    }
    config = SFTConfig(**common) if phase.name == "sft" else DPOConfig(beta=options.dpo_beta, **common)
    adapters = LoraConfig(
        r=options.rank,
        lora_alpha=LORA_SCALE * options.rank,
        lora_dropout=options.dropout,
        target_modules=phase.targets,
        layers_to_transform=_last_blocks(model.config.num_hidden_layers, options.blocks),
        task_type="CAUSAL_LM",
    )
    made = SFTTrainer if phase.name == "sft" else DPOTrainer
    if options.general and phase.name == "sft":
        pieces = read_pieces(Path(options.general), tokenizer)
        made = anchored(made, Anchor(pieces, options.anchor, options.seed, pieces_for(options.batch_size)))
    trainer = made(
        model=model,
        args=config,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=callbacks,
    )
    for shown in [one for one in trainer.callback_handler.callbacks if type(one).__name__ == "PrinterCallback"]:
        trainer.remove_callback(shown)  # only the command line prints
    return trainer


def rows_at_once(batch_size: int, longest: int) -> int:
    """Return how many examples of a batch go through the model together, so that all passes have as many.

    Args:
        longest: tokens of the longest example, both answers of a pair counted.
    """
    fitting = [n for n in range(1, batch_size + 1) if batch_size % n == 0 and n * longest <= PASS_TOKENS]
    return max(fitting, default=1)


def _last_blocks(count: int, wanted: int) -> list[int] | None:
    """Return the numbers of the last `wanted` blocks, None for all of them."""
    return list(range(count - wanted, count)) if 0 < wanted < count else None


def _has_fast_bf16() -> bool:
    """Return whether the processor multiplies bfloat16 tiles: elsewhere float32 is faster."""
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16", False))


def _callbacks(watch: _Watch, options: TrainingConfig, *, can_look: bool) -> list[Any]:
    """Return what is called after each step; transformers wants classes of its own."""
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.begin(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.step(state, control, can_look=can_look)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            watch.log(state, logs)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.saved(state)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.end(state)

    early = [EarlyStoppingCallback(early_stopping_patience=options.patience)] if can_look else []
    return [Watching(), *early]


class _Watch:
    """Follows the steps of a phase: tells how far it is, saves in time, ends it when it must."""

    def __init__(self, phase: Phase, deadline: float, on_progress: OnProgress, must_stop: MustStop) -> None:
        self.ended_by: EndedBy | None = None
        self.spent_before_s = 0.0
        self._phase, self._deadline = phase, deadline
        self._on_progress, self._must_stop = on_progress, must_stop
        self._loss: float | None = None
        self._held_out_loss: float | None = None
        self._is_stopped = self._is_late = False
        self._began = self._saved = time.monotonic()

    def begin(self, state: Any) -> None:
        """Go on counting time where the step that was resumed had come to."""
        spent = self._phase.folder / "spent.json"
        if state.global_step and spent.is_file():
            self.spent_before_s = float(json.loads(spent.read_text())["seconds"])
        self._began = self._saved = time.monotonic()

    def step(self, state: Any, control: Any, *, can_look: bool) -> None:
        """Decide after a step whether to save and whether to go on."""
        now = time.monotonic()
        if self._must_stop():
            self._is_stopped = control.should_save = control.should_training_stop = True
        elif now >= self._deadline and state.global_step < state.max_steps:
            self._is_late = control.should_save = control.should_training_stop = True
            control.should_evaluate = can_look
        elif now - self._saved >= SAVE_S:
            control.should_save = True
        self._tell(state)

    def log(self, state: Any, logs: Mapping[str, float]) -> None:
        """Keep the newest losses."""
        self._loss = logs.get("loss", self._loss)
        self._held_out_loss = logs.get("eval_loss", self._held_out_loss)
        self._tell(state)

    def saved(self, state: Any) -> None:
        """Keep the time that was spent beside the step that was saved."""
        self._saved = time.monotonic()
        seconds = self.spent_before_s + self._saved - self._began
        (self._phase.folder / "spent.json").write_text(json.dumps({"step": state.global_step, "seconds": seconds}))

    def end(self, state: Any) -> None:
        """Say why the phase ended, None where it was told to stop."""
        if state.global_step >= state.max_steps:
            self.ended_by = "steps"
        elif not self._is_stopped:
            self.ended_by = "budget" if self._is_late else "held-out loss"

    def _tell(self, state: Any) -> None:
        self._on_progress(
            TrainProgress(self._phase.name, state.global_step, state.max_steps, self._loss, self._held_out_loss)
        )


def _longest(tokenizer: Any, row: Mapping[str, Any]) -> int:
    """Return the tokens of the longest conversation that a row stands for."""
    answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    return max(
        len(tokenizer.apply_chat_template([*row["prompt"], *answer], return_dict=True)["input_ids"])
        for answer in answers
    )


def _columns(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != "weight"} for row in rows]


def _last_whole_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end: its state is what the trainer writes last."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def _save_adapter(model: Any, folder: Path) -> None:
    part = folder / "adapter.part"
    model.save_pretrained(str(part))
    part.replace(folder / "adapter")
