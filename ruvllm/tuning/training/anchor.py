"""Against forgetting: on general text, the student is held to what its base says.

The loss of a step is that of its examples plus `weight` times KL(base || student) on a few pieces of text that have
nothing to do with them (learning without forgetting: Li and Hoiem 2016, arXiv:1606.09282). The base is the model with
its adapters switched off, so it costs no memory; the divergence and its gradient are 0 where the training begins, so
only what moves away from the base is pulled back.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Anchor", "anchored", "pieces_for", "read_pieces"]

PIECE_TOKENS = 64
PIECES_SHARE = 4  # a piece for so many examples of a batch


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a student is held to, how strongly, and by how many pieces in a step."""

    pieces: list[list[int]]
    weight: float
    seed: int
    in_step: int

    def of_step(self, step: int) -> list[list[int]]:
        """Return the pieces of a step: the same whenever it is done again."""
        rng = np.random.default_rng((self.seed, step))
        return [self.pieces[i] for i in rng.integers(len(self.pieces), size=self.in_step)]


def pieces_for(batch_size: int) -> int:
    """Return how many pieces a step has beside so many examples."""
    return max(1, batch_size // PIECES_SHARE)


def read_pieces(text: Path, tokenizer: Any) -> list[list[int]]:
    """Return the paragraphs of a text file, gzipped where its name ends in .gz, in pieces of PIECE_TOKENS tokens.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: no paragraph is as long.
    """
    opened = gzip.open if text.suffix == ".gz" else open
    with opened(text, "rt", encoding="utf-8") as stream:
        paragraphs = [line.strip() for line in stream if len(line) > PIECE_TOKENS]  # a token has a character at least
    encoded = [tokenizer(paragraph, add_special_tokens=False)["input_ids"] for paragraph in paragraphs]
    starts = range(0, max((len(ids) for ids in encoded), default=0) - PIECE_TOKENS + 1, PIECE_TOKENS)
    pieces = [ids[at : at + PIECE_TOKENS] for ids in encoded for at in starts if at + PIECE_TOKENS <= len(ids)]
    if not pieces:
        raise ValueError(f"general: {text} has no paragraph of {PIECE_TOKENS} tokens")
    return pieces


def anchored(trainer: Any, anchor: Anchor) -> Any:
    """Return a class like `trainer`, of transformers, whose loss in training is anchored."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    class Anchored(trainer):  # type: ignore[misc]
        step = passed = -1  # the step at work, and how many passes of it were held before

        def compute_loss(self, model: Any, inputs: Any, *given: Any, **options: Any) -> Any:
            loss = super().compute_loss(model, inputs, *given, **options)
            if not model.training:
                return loss
            passes = self.current_gradient_accumulation_steps
            self.passed = self.passed + 1 if self.step == self.state.global_step else 0
            self.step = self.state.global_step
            share = anchor.of_step(self.step)[self.passed :: passes]
            if not share:
                return loss
            pieces = torch.tensor(share, device=loss.device)
            with torch.no_grad(), self.accelerator.unwrap_model(model).disable_adapter():
                base = log_softmax(model(input_ids=pieces).logits.float(), dim=-1)
            student = log_softmax(model(input_ids=pieces).logits.float(), dim=-1)
            divergence = kl_div(student, base, reduction="sum", log_target=True) / (anchor.in_step * PIECE_TOKENS)
            # A loss by the tokens of the whole batch is summed over its passes; any other is a mean over them.
            scale = 1 if options.get("num_items_in_batch") is not None else passes
            return loss + scale * anchor.weight * divergence

    return Anchored
