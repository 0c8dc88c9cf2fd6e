"""The unfinished run of `ruvllm tune` in a brain's folder: it holds words of traces."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["CURRICULUM", "HOLDOUT", "OUT", "RUN", "clear", "tuning_folder"]

CURRICULUM, HOLDOUT, OUT, RUN = "curriculum", "holdout.jsonl", "student", "run.json"


def tuning_folder(brain: Path) -> Path:
    """Return where the run in progress of a brain lies."""
    return brain / "tuning"


def clear(folder: Path) -> None:
    """Delete a run and all that it is made of."""
    (folder / RUN).unlink(missing_ok=True)  # first: without it there is no run
    (folder / HOLDOUT).unlink(missing_ok=True)
    for part in folder.glob(f"{CURRICULUM}*"):  # one that was not written to its end has a longer name
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder / OUT, ignore_errors=True)
