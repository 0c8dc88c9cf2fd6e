"""The unfinished run of `ruvllm tune`: it holds words of traces, which are to go when the brain forgets them."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ruvllm.memory.store import Store
from ruvllm.memory.traces import DAY_S, StoredTrace, read_traces

__all__ = [
    "CURRICULUM",
    "GENERAL",
    "HOLDOUT",
    "LOCK",
    "OUT",
    "RUN",
    "TEXT",
    "MadeOf",
    "clear",
    "drop_outdated_run",
    "made_of",
    "still_holds",
    "tuning_folder",
]

CURRICULUM, HOLDOUT, OUT, RUN, LOCK = "curriculum", "holdout.jsonl", "student", "run.json", "lock"
GENERAL, TEXT = "general.txt", "text.txt"  # of the brain's own documents


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a run read: the traces from `since` on, and what is in each by id, as `_mark` has it; and documents."""

    since: float
    namespaces: tuple[str, ...]
    traces: Mapping[str, str]
    documents: tuple[int, ...] = ()  # nodes, whose words are in GENERAL and TEXT


def tuning_folder(brain: Path) -> Path:
    """Return where the run in progress of a brain lies."""
    return brain / "tuning"


def clear(folder: Path) -> None:
    """Delete a run and all that it is made of."""
    _clear_words(folder)
    shutil.rmtree(folder / OUT, ignore_errors=True)


def made_of(store: Store, namespaces: Iterable[str], window_days: float) -> MadeOf:
    """Return the traces of these namespaces that are not older than the window before the newest one."""
    names = tuple(namespaces)
    found = [one for name in names for one in read_traces(store, name, -math.inf, math.inf)]
    since = max((one.created for one in found), default=0.0) - window_days * DAY_S
    return MadeOf(since, names, {one.id: _mark(one) for one in found if one.created >= since})


def still_holds(store: Store, made: MadeOf) -> bool:
    """Return whether no document of a run was deleted or revoked, and none of its traces was, or is trusted less.

    A new version of a document changes nothing: what it said before is history, and not forgotten.
    """
    kept = "SELECT count(*) FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND trust > 0.0"
    if store.value(kept, (json.dumps(made.documents),)) < len(made.documents):
        return False
    found = [one for name in made.namespaces for one in read_traces(store, name, made.since, math.inf)]
    now = {one.id: _mark(one) for one in found}
    return all(now.get(id, "").startswith(mark) for id, mark in made.traces.items())


def drop_outdated_run(store: Store, brain: Path) -> None:
    """Delete an unfinished run that was made of what does not hold any more; call it after the commit.

    A training that is at work finds its run gone at its next step, and ends.
    """
    from filelock import FileLock, Timeout

    folder = tuning_folder(brain)
    run = folder / RUN
    is_begun = run.is_file()
    if is_begun:
        made = _read(run)
        if made is not None and still_holds(store, made):
            return
    elif not _words(folder):
        return
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            clear(folder)
    except Timeout:
        if is_begun:  # else it looks by itself before it begins
            _clear_words(folder)


def _read(run: Path) -> MadeOf | None:
    """Return what a run is made of, None where it is gone or does not say."""
    try:
        return msgspec.convert(json.loads(run.read_bytes())["made_of"], MadeOf)
    except (OSError, ValueError, KeyError):
        return None


def _words(folder: Path) -> list[Path]:
    """Return what holds words of the brain beside the run itself."""
    files = [path for name in (HOLDOUT, GENERAL, TEXT) if (path := folder / name).is_file()]
    return [*files, *folder.glob(f"{CURRICULUM}*")]  # one that was not written to its end has a longer name


def _clear_words(folder: Path) -> None:
    (folder / RUN).unlink(missing_ok=True)  # first: without it there is no run
    for path in _words(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _mark(trace: StoredTrace) -> str:
    """Return the hash of a trace's words, with "+" after it where it may be learnt, "-" before it where it is revoked:
    what was confirmed since begins as it did before."""
    correction = trace.feedback.correction if trace.feedback is not None and trace.correction_node is not None else None
    said = [trace.query, trace.answer, correction, *(message.content for message in trace.prompt)]
    said += [one.answer for one in trace.tried]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    if trace.decided == "revoked" or not trace.conversation_holds or (trace.is_revoked and correction is None):
        return f"-{digest}"
    is_confirmed = correction is not None or trace.is_promoted
    return f"{digest}+" if is_confirmed and all(source.holds for source in trace.sources) else digest
