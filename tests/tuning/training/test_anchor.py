"""Students that are held to their base on general text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from ruvllm.tuning.training import train_student
from ruvllm.tuning.training.anchor import PIECE_TOKENS, Anchor, pieces_for, read_pieces
from ruvllm.tuning.training.publish import merged

from . import cases

SEA = "a calm sea and a fair wind, and nothing to be done before the evening but to look at the gulls that follow\n"


class Letters:
    """A tokenizer of characters."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


def test_text_is_cut_into_whole_pieces(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("short\n" + "a" * 150 + "\n" + "b" * 70)
    pieces = read_pieces(tmp_path / "text.txt", Letters())
    assert pieces == [[97] * PIECE_TOKENS, [97] * PIECE_TOKENS, [98] * PIECE_TOKENS]


def test_text_without_a_long_paragraph_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("short\n" * 9)
    with pytest.raises(ValueError, match="has no paragraph of 64 tokens"):
        read_pieces(tmp_path / "text.txt", Letters())


def test_a_step_that_is_done_again_has_the_same_pieces() -> None:
    anchor = Anchor([[i] for i in range(99)], 1.0, seed=3, in_step=pieces_for(16))
    assert anchor.of_step(7) == anchor.of_step(7) != anchor.of_step(8)
    assert len(anchor.of_step(7)) == 4


def test_anchored_student_says_of_other_things_what_its_base_says(tmp_path: Path) -> None:
    cases.needs_training()
    import torch

    (tmp_path / "text.txt").write_text(SEA * 20)
    folder, colours = cases.lfm2(tmp_path), cases.curriculum(tmp_path, sft=cases.examples())
    ids, losses, divergences = torch.tensor([[ord(letter) for letter in SEA[:60]]]), [], []
    for name, general in (("free", ""), ("anchored", str(tmp_path / "text.txt"))):
        options = msgspec.structs.replace(cases.OPTIONS, general=general, anchor=20.0)
        trained = train_student(colours, folder, tmp_path / name, options)
        losses.append(trained.phases[0].held_out_loss)
        with torch.no_grad():
            base, student = (
                torch.log_softmax(merged(folder, adapters)(ids).logits.double(), -1)
                for adapters in ([], [tmp_path / name / "sft/adapter"])
            )
        divergences.append(float((base.exp() * (base - student)).sum(-1).mean()))
    assert divergences[1] < divergences[0] / 2
    assert losses[1] < 4.0 and np.isfinite(losses[1])  # and learns all the same: the base has 11
