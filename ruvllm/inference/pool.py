"""The readers in order of cost: loaded at first use, shared while in use, unloaded when memory runs short."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ruvllm import models
from ruvllm.checkpoints import Student
from ruvllm.closing import Closes
from ruvllm.config import GenerationConfig, ModelsConfig, without_userinfo
from ruvllm.errors import EngineError, ModelDamaged, ModelMissing, ModelTooLarge
from ruvllm.inference.engine import Cancelled, Engine
from ruvllm.inference.open import find_or_pull, is_remote, may_pull, open_engine, window_tokens
from ruvllm.inference.served import Served
from ruvllm.models.cache import directory_name
from ruvllm.models.convert import QUANTIZATIONS
from ruvllm.models.pull import converted_bytes

__all__ = ["LoadedModel", "ModelPool", "PoolStats", "memory_bytes"]

logger = logging.getLogger(__name__)

POLL_S = 0.05  # how soon a wait notices that it was cancelled
CACHE_BYTES_PER_TOKEN = 80 * 1024  # keys and values in float32: SmolLM2-360M's, the most of the catalogue's models


def memory_bytes(card: models.ModelCard, window: int) -> int:
    """Return what a model is counted as: all its files, and the cache of one conversation of `window` tokens.

    Weights take as much memory as on disk. What further conversations hold at the same time is not known before.
    """
    files = sum(record.bytes for record in card.files.values())
    return files + min(window, card.context_tokens) * CACHE_BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One engine in memory: what was opened for the tier, what it is counted as, and how many use it now."""

    tier: str
    model: str
    bytes: int
    users: int


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What is in memory, least recently used first, and what happened since the pool was made.

    `bytes` includes models that are being loaded or closed at this moment; `hits` counts uses that found their model
    loaded or being loaded.
    """

    loaded: tuple[LoadedModel, ...]
    bytes: int
    budget_bytes: int
    loads: int
    hits: int
    evictions: int


_Key = tuple[str, str]  # tier, and id of the student in its place


@dataclass(slots=True, eq=False)
class _Slot:
    """The engine of a tier, or of a student in its place, there or on its way; `users` are the threads that entered a
    lease."""

    tier: str
    student: Student | None = None
    model: str = ""
    bytes: int = 0
    users: list[int] = field(default_factory=list)
    engine: Future[Engine] = field(default_factory=Future)
    is_broken: bool = False  # the student could not be loaded
    is_given_up: bool = False  # who was to load it did not wait for room any longer; that is nobody else's failure

    @property
    def key(self) -> _Key:
        return self.tier, self.student.id if self.student is not None else ""


class _Wait:
    """How long one lease is waited for, and whether anybody still wants it."""

    def __init__(self, timeout_s: float, cancelled: Cancelled) -> None:
        self.timeout_s = timeout_s
        self.cancelled = cancelled
        self._deadline = time.monotonic() + timeout_s

    def next_s(self) -> float:
        """Return for how long to wait before asking again, 0 once the time is over; raise CancelledError."""
        if self.cancelled():
            raise CancelledError
        return max(min(POLL_S, self._deadline - time.monotonic()), 0.0)


class ModelPool(Closes):
    """Engines by tier. Safe to share between threads.

    A tier is loaded when it is first asked for; whoever asks meanwhile waits for that load, other tiers load beside it.
    Under `config.budget_bytes` the least recently used models that nobody uses are closed to make room, and where all
    are in use a load waits for up to `generation.timeout_s`. A name without "@" stands for the first of
    `config.quantizations` that fits, those in the cache before those that would have to be fetched. Endpoints cost no
    bytes and stay open.

    A failed load is everybody's who waited for it; the next use tries again. Who only stopped waiting for room for it
    has failed alone.

    Where a student was promoted, it answers in its tier's place from the next lease on; who uses the model before goes
    on with it, and the last of them closes it. A student's files are read and compared with what was recorded before it
    is loaded; one that cannot be loaded is rolled back, and whoever was before it is lent.

    Args:
        generation: how engines are opened; its model is the tier that is meant when none is named.
        config: tiers, budget and where models live.
        open: makes an engine from (model, generation, config).
        served: says which students answer; none when None.
    """

    def __init__(
        self,
        generation: GenerationConfig,
        config: ModelsConfig,
        *,
        open: Callable[[str, GenerationConfig, ModelsConfig], Engine] = open_engine,
        served: Served | None = None,
    ) -> None:
        self.tiers = config.tiers or (generation.model,)
        self._generation = generation
        self._config = config
        self._open = open
        self._served = served
        self._changed = threading.Condition()
        self._slots: dict[_Key, _Slot] = {}  # least recently used first
        self._leaving: list[_Slot] = []  # evicted and not yet closed: their bytes still count
        self._loads = self._hits = self._evictions = 0
        self._is_closed = False

    @contextmanager
    def engine(
        self,
        tier: str | None = None,
        *,
        timeout_s: float | None = None,
        trial: Student | None = None,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[Engine]:
        """Lend the engine of a tier, loaded now unless it is there; it stays loaded while the body runs.

        Args:
            timeout_s: longest wait for models in the way, and for another thread that loads this one; for the former
                `generation.timeout_s`, for the latter no limit, when None. A load of one's own is not interrupted.
            trial: the student that is lent in the place of whoever answers for the tier.
            cancelled: ends these waits once it says True.

        Raises:
            ValueError: the pool has no such tier.
            ModelTooLarge: the model does not fit the budget in any quantization.
            ModelMissing, ModelDamaged, ModelUnsupported, PullError: see `open_engine`. A `trial` that cannot be loaded,
                for whatever reason, is damaged.
            TimeoutError: every model in the way stayed in use, or another thread's load took longer.
            CancelledError: `cancelled()` turned True while waiting.
            RuntimeError: only this thread's own leases are in the way; waiting for them would never end.
            EngineError: the pool is closed.
        """
        user = threading.get_ident()  # a stream that holds the lease may be ended by another thread
        wait = _Wait(math.inf if timeout_s is None else timeout_s, cancelled)
        slot = self._lease(self._generation.model if tier is None else tier, user, wait, trial)
        try:
            yield slot.engine.result()
        finally:
            self._leave(slot, user)

    def stats(self) -> PoolStats:
        """Return what is loaded and what it took."""
        with self._changed:
            slots = tuple(self._slots.values())
            return PoolStats(
                loaded=tuple(
                    LoadedModel(without_userinfo(s.tier), without_userinfo(s.model), s.bytes, len(s.users))
                    for s in slots
                    if s.engine.done()
                ),
                bytes=sum(s.bytes for s in (*slots, *self._leaving)),
                budget_bytes=self._config.budget_bytes,
                loads=self._loads,
                hits=self._hits,
                evictions=self._evictions,
            )

    def close(self) -> None:
        """Lend nothing more, wait until the engines are given back, and close them. May be called twice.

        Engines that this thread has not given back, or another not within `generation.timeout_s`, are closed in use:
        what they generate ends after its current token.
        """
        deadline = time.monotonic() + self._generation.timeout_s
        with self._changed:
            self._is_closed = True
            while self._leaving or self._others():
                if not self._changed.wait(deadline - time.monotonic()):
                    logger.warning("closing models that are in use")
                    break
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            slot.engine.add_done_callback(_close_engine)  # at once, or when a load that took too long ends

    def __repr__(self) -> str:
        return f"ModelPool({', '.join(map(without_userinfo, self.tiers))})"

    def _lease(self, tier: str, user: int, wait: _Wait, trial: Student | None) -> _Slot:
        """Return a loaded slot with `user` among its users: of the trial, or of whoever answers for the tier."""
        while True:
            student = trial or (self._served.serving(tier).promoted if self._served is not None else None)
            slot, is_new = self._enter(tier, student, user)
            try:
                if is_new:
                    self._load(slot, wait)
                else:
                    _wait_for_load(slot, wait)
                slot.engine.result()
                return slot
            except BaseException as error:
                self._leave(slot, user)
                if slot.is_given_up and not is_new and isinstance(error, Exception):
                    continue
                if student is None or self._served is None or not slot.is_broken:
                    raise
                if trial is not None:
                    raise ModelDamaged(f"{trial.name} cannot be loaded: {error}", model=trial.name) from error
                self._served.cannot_load(student, str(error) or type(error).__name__)

    def _enter(self, tier: str, student: Student | None, user: int) -> tuple[_Slot, bool]:
        """Return the slot with `user` among its users, and whether that one is to load it."""
        if tier not in self.tiers:
            known = ", ".join(map(without_userinfo, self.tiers))
            raise ValueError(f"tier must be one of {known} ({without_userinfo(tier)!r})")
        with self._changed:
            if self._is_closed:
                raise EngineError("the model pool is closed", engine=without_userinfo(tier))
            wanted = _Slot(tier, student)
            slot = self._slots.pop(wanted.key, None)
            is_new = slot is None
            slot = slot or wanted
            slot.users.append(user)
            self._slots[slot.key] = slot
            self._hits += not is_new
        if is_new:
            self._close_outdated(slot)
        return slot, is_new

    def _leave(self, slot: _Slot, user: int) -> None:
        with self._changed:
            slot.users.remove(user)
            if self._slots.get(slot.key) is slot:
                self._slots[slot.key] = self._slots.pop(slot.key)  # used until now
            self._changed.notify_all()
        self._close_outdated(slot)

    def _close_outdated(self, slot: _Slot) -> None:
        """Close what nobody uses and nobody will: engines of the slot's tier that do not answer for it any more."""
        if self._served is None or all(key == slot.key or key[0] != slot.tier for key in tuple(self._slots)):
            return
        serving = self._served.serving(slot.tier)
        wanted = {one.id for one in (serving.promoted, serving.trial) if one is not None}
        wanted |= set() if serving.promoted is not None else {""}
        with self._changed:
            left = [s for s in self._slots.values() if s.tier == slot.tier and s.key[1] not in wanted and not s.users]
            for one in left:
                self._leaving.append(self._slots.pop(one.key))
        for one in left:
            self._close_evicted(one)

    def _close_evicted(self, slot: _Slot) -> None:
        try:
            slot.engine.result().close()
            logger.info("unloaded %s", slot.model)
        finally:
            with self._changed:
                self._leaving.remove(slot)
                self._changed.notify_all()

    def _load(self, slot: _Slot, wait: _Wait) -> None:
        try:
            slot.model, need = self._chosen(slot)
            self._make_room(slot, need, wait)
            engine = self._opened(slot)
        except BaseException as error:
            with self._changed:
                self._slots.pop(slot.key, None)
                self._changed.notify_all()
            name = without_userinfo(slot.tier)
            interrupted = EngineError(f"loading {name} was interrupted", engine=name)
            slot.engine.set_exception(error if isinstance(error, Exception) else interrupted)
            raise
        with self._changed:
            self._loads += 1
            self._changed.notify_all()
        slot.engine.set_result(engine)
        logger.info("loaded %s (%d MB)", without_userinfo(slot.model), slot.bytes / 1e6)

    def _chosen(self, slot: _Slot) -> tuple[str, int]:
        """Return the model to open, and what it is counted as; a student's files are compared with the registry."""
        if slot.student is None or self._served is None:
            return self._choose(slot.tier)
        try:
            path = self._served.students.require_whole(slot.student)
            need = self._bytes(path)
            if not self._fits(need):
                raise self._too_large(slot.student.name, need)
            return str(path), need
        except Exception:
            slot.is_broken = True
            raise

    def _opened(self, slot: _Slot) -> Engine:
        """Return the engine of a chosen model; whatever goes wrong with that of a student is the student's fault."""
        if slot.student is None or self._served is None:
            return self._open(slot.model, self._generation, self._config)
        try:
            with self._served.students.loading(slot.student):
                return self._open(slot.model, self._generation, self._config)
        except Exception:
            slot.is_broken = True
            raise

    def _choose(self, tier: str) -> tuple[str, int]:
        """Return the model that `open` is given for a tier, in the cache by now, and what it is counted as."""
        if is_remote(tier):
            return tier, 0
        is_exact = "@" in tier or Path(tier).expanduser().is_dir()
        names = [tier] if is_exact else [directory_name(tier, q) for q in self._config.quantizations]
        missing: ModelMissing | None = None
        too_large: list[int] = []
        for name in names:
            try:
                need = self._bytes(models.find(name, self._config, task="generate"))
            except ModelMissing as error:
                missing = missing or error
                continue
            if self._fits(need):
                return name, need
            too_large.append(need)
        for name in names:
            need = self._bytes_once_pulled(name)
            if need and self._fits(need):
                need = self._bytes(find_or_pull(name, self._config, task="generate"))
                if self._fits(need):
                    return name, need
            if need:
                too_large.append(need)
        if missing is not None and not too_large:
            raise missing
        raise self._too_large(tier, min(too_large))

    def _too_large(self, name: str, need: int) -> ModelTooLarge:
        budget = self._config.budget_bytes
        return ModelTooLarge(
            f"{name} needs {need / 1e6:.0f} MB, its cache included, and models.budget_bytes is {budget / 1e6:.0f} MB",
            model=name,
            bytes=need,
        )

    def _bytes(self, path: Path) -> int:
        return memory_bytes(models.read_card(path), window_tokens(self._generation))

    def _bytes_once_pulled(self, name: str) -> int:
        """Return about what a model that may be pulled will be counted as, 0 for others."""
        base, _, quantization = name.partition("@")
        quantization = quantization or "int8"
        if quantization not in QUANTIZATIONS or not may_pull(name, self._config):
            return 0
        cache = window_tokens(self._generation) * CACHE_BYTES_PER_TOKEN
        return converted_bytes(models.catalogue()[base], quantization) + cache

    def _fits(self, need: int) -> bool:
        return not self._config.budget_bytes or need <= self._config.budget_bytes

    def _make_room(self, slot: _Slot, need: int, wait: _Wait) -> None:
        """Reserve `need` bytes for `slot`, closing models that nobody uses as long as they do not fit."""
        if wait.timeout_s == math.inf:
            wait = _Wait(self._generation.timeout_s, wait.cancelled)
        while (evicted := self._reserve(slot, need, wait)) is not None:
            self._close_evicted(evicted)

    def _reserve(self, slot: _Slot, need: int, wait: _Wait) -> _Slot | None:
        """Return None once the bytes are reserved, or else a model that was taken out of use, to be closed first."""
        with self._changed:
            while True:
                others = [s for s in (*self._slots.values(), *self._leaving) if s is not slot and s.bytes]
                if self._fits(need + sum(s.bytes for s in others)) or not need:
                    slot.bytes = need
                    return None
                idle = [s for s in others if not s.users]
                if idle and not self._leaving:
                    evicted = self._slots.pop(idle[0].key)
                    self._leaving.append(evicted)
                    self._evictions += 1
                    return evicted
                try:
                    self._wait_for_room(slot, others, wait)
                except BaseException:
                    slot.is_given_up = True
                    raise

    def _wait_for_room(self, slot: _Slot, others: list[_Slot], wait: _Wait) -> None:
        names, holders = ", ".join(s.model for s in others), {thread for s in others for thread in s.users}
        if holders == {threading.get_ident()} and not self._leaving:
            raise RuntimeError(f"{slot.model} does not fit models.budget_bytes beside {names}, which this thread uses")
        pause_s = wait.next_s()
        if not pause_s:
            how_long = f"in use for {wait.timeout_s:g} s"
            raise TimeoutError(f"{slot.model} does not fit models.budget_bytes beside {names}, {how_long}")
        self._changed.wait(pause_s)

    def _others(self) -> bool:
        """Return whether another thread uses an engine."""
        me = threading.get_ident()
        return any(thread != me for slot in self._slots.values() for thread in slot.users)


def _wait_for_load(slot: _Slot, wait: _Wait) -> None:
    """Wait until another thread has loaded a slot, or failed."""
    while not slot.engine.done():
        pause_s = wait.next_s()
        if not pause_s:
            name = without_userinfo(slot.tier)
            raise TimeoutError(f"another request loads {name} for longer than {wait.timeout_s:g} s")
        wait_for((slot.engine,), pause_s)


def _close_engine(engine: Future[Engine]) -> None:
    if engine.exception() is None:
        engine.result().close()
