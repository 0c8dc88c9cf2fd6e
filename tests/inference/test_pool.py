"""The pool: one load a model, least recently used out first, nothing closed while it is used. Tiny and real models."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from models import tiny

from ruvllm import models
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.errors import EngineError, ModelDamaged, ModelMissing, ModelTooLarge, PullError
from ruvllm.inference import ModelPool, complete
from ruvllm.inference.open import WINDOW_TOKENS
from ruvllm.inference.pool import CACHE_BYTES_PER_TOKEN, memory_bytes
from ruvllm.types import GenerationOptions, Message

from .endpoint import Endpoint
from .fakes import EchoEngine

NAMES = ("one", "two", "three")
PROMPT = [Message("user", "one two three")]
OPTIONS = GenerationOptions(max_new_tokens=3)
WAIT_S = 20.0  # for what comes at once, unless the test fails


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of three equal decoders of 200 KB in int8, the first in float32 too."""
    folder = tmp_path_factory.mktemp("pool")
    source, config = tiny.write_gguf(folder / "one.gguf", tiny.decoder_weights()), ModelsConfig(cache_dir=str(folder))
    first = models.pull(f"path:{source}", config)
    models.pull(f"path:{source}", config, quantization="float32")
    for name in NAMES[1:]:
        shutil.copytree(first, first.parent / name)
    return folder


@pytest.fixture(params=["tiny", pytest.param("real", marks=pytest.mark.real)])
def any_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A cache with the models "one" and "two": tiny ones, or SmolLM2-135M under two names."""
    if request.param == "tiny":
        return Path(request.getfixturevalue("tiny_cache"))
    folder = tmp_path / "models"
    folder.mkdir()
    for name in NAMES[:2]:
        (folder / name).symlink_to(request.getfixturevalue("smollm2_dir"), target_is_directory=True)
    return tmp_path


class Workshop:
    """Makes engines that note when they are opened and closed."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.before_open: Callable[[str], object] = lambda model: None
        self.before_close: Callable[[str], object] = lambda model: None

    def open(self, model: str, generation: GenerationConfig, config: ModelsConfig) -> EchoEngine:
        self.before_open(model)
        self.events.append(f"open {model}")
        return _NotedEngine(model, self)


class _NotedEngine(EchoEngine):
    def __init__(self, name: str, workshop: Workshop) -> None:
        super().__init__(name=name)
        self._workshop = workshop

    def close(self) -> None:
        self._workshop.before_close(self.name)
        super().close()
        self._workshop.events.append(f"close {self.name}")


class _NotedCondition(threading.Condition):
    """Says when a thread has begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.noted = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.noted.set()
        return super().wait(timeout)


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def pool_of(tiny_cache: Path, workshop: Workshop) -> Iterator[Callable[..., ModelPool]]:
    """Make pools of tiny models with noted engines that have room for `room` of them; closed with the test."""
    with ExitStack() as pools:

        def make(
            room: int = 0, tiers: tuple[str, ...] = NAMES, timeout_s: float = WAIT_S, **fields: object
        ) -> ModelPool:
            config = ModelsConfig(cache_dir=str(tiny_cache), offline=True, tiers=tiers, **fields)
            config = msgspec.structs.replace(config, budget_bytes=room * counted("one", config))
            pool = ModelPool(GenerationConfig(model=tiers[0], timeout_s=timeout_s), config, open=workshop.open)
            return pools.enter_context(pool)

        yield make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def counted(name: str, config: ModelsConfig) -> int:
    return memory_bytes(models.read_card(models.find(name, config)), WINDOW_TOKENS)


def use(pool: ModelPool, tier: str, **waiting: Any) -> str:
    with pool.engine(tier, **waiting) as engine:
        return complete(engine, PROMPT, OPTIONS).text


def until(statement: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    pause = threading.Event()
    for _ in range(int(WAIT_S * 1000)):
        if statement():
            return
        pause.wait(0.001)
    raise AssertionError("it never happened")


class Holder:
    """Holds a lease in a thread of its own until told to give it back."""

    def __init__(self, pool: ModelPool, tier: str, threads: ThreadPoolExecutor, on_end: Callable[[], object]) -> None:
        self._has_it, self._may_end = threading.Event(), threading.Event()
        self._done = threads.submit(self._hold, pool, tier, on_end)
        assert self._has_it.wait(WAIT_S)

    def _hold(self, pool: ModelPool, tier: str, on_end: Callable[[], object]) -> None:
        with pool.engine(tier):
            self._has_it.set()
            self._may_end.wait(WAIT_S)
            on_end()

    def give_back(self) -> None:
        self._may_end.set()
        self._done.result(WAIT_S)


# -- size and eviction ------------------------------------------------------------------------------------------------


def test_model_loading_correct_size(any_cache: Path) -> None:
    config = ModelsConfig(cache_dir=str(any_cache), offline=True)
    card = models.read_card(models.find("one", config))
    on_disk = sum((any_cache / "models" / "one" / name).stat().st_size for name in card.files)
    with ModelPool(GenerationConfig(model="one"), config) as pool, pool.engine() as engine:
        window = min(engine.context_tokens, WINDOW_TOKENS)
        assert engine.parameters == card.parameters
        assert pool.stats().bytes == on_disk + window * CACHE_BYTES_PER_TOKEN
        assert [(m.tier, m.model, m.users) for m in pool.stats().loaded] == [("one", "one", 1)]


LOAD = """
import re, sys
import ctranslate2, jinja2, tokenizers
from pathlib import Path
from ruvllm.config import Config
from ruvllm.inference import ModelPool
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
config, before = Config(), resident()
pool = ModelPool(config.generation, config.models)
with pool.engine():
    print(resident() - before, pool.stats().bytes)
pool.close()
"""


@pytest.mark.real
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="resident memory is read from /proc")
def test_a_loaded_model_holds_its_files_and_no_more_than_it_is_counted_as(smollm2_dir: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOAD], capture_output=True, text=True, check=True)
    grown, counted_as = map(int, done.stdout.split())
    assert (smollm2_dir / "model.bin").stat().st_size <= grown <= counted_as


def test_model_eviction_under_memory_pressure(any_cache: Path) -> None:
    config = ModelsConfig(cache_dir=str(any_cache), offline=True)
    budget = counted("one", config) * 3 // 2  # room for one of the two
    config = ModelsConfig(cache_dir=str(any_cache), offline=True, tiers=("one", "two"), budget_bytes=budget)
    with ModelPool(GenerationConfig(model="one"), config) as pool:
        with pool.engine("one") as first:
            before = complete(first, PROMPT, OPTIONS)
        assert complete_with(pool, "two") == before  # the same weights
        assert [m.tier for m in pool.stats().loaded] == ["two"]
        with pytest.raises(EngineError, match="closed"):
            complete(first, PROMPT, OPTIONS)
        assert complete_with(pool, "one") == before
        assert pool.stats().evictions == 2 and pool.stats().bytes <= budget


def complete_with(pool: ModelPool, tier: str) -> object:
    with pool.engine(tier) as engine:
        return complete(engine, PROMPT, OPTIONS)


def test_the_least_recently_used_goes_first(pool_of: Callable[..., ModelPool], workshop: Workshop) -> None:
    pool = pool_of(room=2)
    for tier in ("one", "two", "one", "three"):
        use(pool, tier)
    assert workshop.events == ["open one", "open two", "close two", "open three"]
    assert [m.tier for m in pool.stats().loaded] == ["one", "three"]


def test_a_use_that_ends_counts_as_recent(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of(room=2)
    with pool.engine("one"):
        use(pool, "two")
    use(pool, "three")
    assert [m.tier for m in pool.stats().loaded] == ["one", "three"]


def test_what_is_being_closed_still_counts(pool_of: Callable[..., ModelPool], workshop: Workshop) -> None:
    pool = pool_of(room=1)
    seen: list[int] = []
    workshop.before_close = lambda _: seen.append(pool.stats().bytes)
    use(pool, "one")
    use(pool, "two")
    assert seen == [pool.stats().budget_bytes]


def test_without_a_budget_everything_stays(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of(room=0)
    for tier in (*NAMES, *NAMES):
        use(pool, tier)
    stats = pool.stats()
    assert (stats.loads, stats.hits, stats.evictions, len(stats.loaded)) == (3, 3, 0, 3)


def test_a_model_beyond_the_whole_budget_is_too_large_and_evicts_nothing(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of(room=1, tiers=("one", "one@float32"))
    use(pool, "one")
    with pytest.raises(ModelTooLarge, match=r"one@float32 needs \d+ MB.*models\.budget_bytes is \d+ MB") as caught:
        use(pool, "one@float32")
    assert caught.value.model == "one@float32" and caught.value.bytes > pool.stats().budget_bytes
    assert pool.stats().evictions == 0 and use(pool, "one") == "one two three"


def test_an_endpoint_costs_no_bytes_and_stays(tiny_cache: Path, serve: Callable[[str], Endpoint]) -> None:
    location = serve("ok").location
    budget = counted("one", ModelsConfig(cache_dir=str(tiny_cache)))
    config = ModelsConfig(cache_dir=str(tiny_cache), tiers=(location, "one", "two"), budget_bytes=budget)
    with ModelPool(GenerationConfig(model=location), config) as pool:
        for tier in (location, "one", "two", location):
            complete_with(pool, tier)
        assert [(m.tier, m.bytes) for m in pool.stats().loaded] == [("two", budget), (location, 0)]
        assert (pool.stats().loads, pool.stats().hits) == (3, 1)


# -- which quantization -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "opened"), [(0, "one@float32"), (9, "one@float32"), (1, "one")])
def test_the_first_quantization_that_fits_is_opened(
    pool_of: Callable[..., ModelPool], workshop: Workshop, room: int, opened: str
) -> None:
    use(pool_of(room=room, quantizations=("float32", "int8", "int4")), "one")
    assert workshop.events == [f"open {opened}"]


def test_a_quantization_that_is_not_there_is_passed_over(pool_of: Callable[..., ModelPool], workshop: Workshop) -> None:
    use(pool_of(quantizations=("int4", "float32", "int8")), "two")
    assert workshop.events == ["open two"]


def test_a_directory_is_opened_as_it_is(
    pool_of: Callable[..., ModelPool], workshop: Workshop, tiny_cache: Path
) -> None:
    folder = str(tiny_cache / "models" / "one")
    use(pool_of(tiers=(folder,), quantizations=("float32",)), folder)
    assert workshop.events == [f"open {folder}"]


def test_what_is_in_the_cache_comes_before_what_must_be_fetched(
    tmp_path: Path, tiny_cache: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "pull", lambda *_, **__: pytest.fail("fetched"))
    shutil.copytree(tiny_cache / "models" / "one", tmp_path / "models" / "smollm2-135m@int4")
    config = ModelsConfig(cache_dir=str(tmp_path))
    with ModelPool(GenerationConfig(), config, open=workshop.open) as pool:
        use(pool, "smollm2-135m")
    assert workshop.events == ["open smollm2-135m@int4", "close smollm2-135m@int4"]


def test_the_largest_that_fits_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def pull(name: str, config: ModelsConfig, *, quantization: str) -> Path:
        asked.append((name, quantization))
        raise PullError("no network in tests", model=name)

    monkeypatch.setattr(models, "pull", pull)
    config = ModelsConfig(cache_dir=str(tmp_path), budget_bytes=600_000_000, quantizations=("float32", "int8"))
    with ModelPool(GenerationConfig(), config) as pool, pytest.raises(PullError):
        use(pool, "smollm2-135m")
    assert asked == [("smollm2-135m", "int8")]


def test_what_would_not_fit_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "pull", lambda *_, **__: pytest.fail("fetched"))
    config = ModelsConfig(cache_dir=str(tmp_path), budget_bytes=100_000_000)
    with ModelPool(GenerationConfig(), config) as pool, pytest.raises(ModelTooLarge):
        use(pool, "smollm2-135m")


# -- several threads --------------------------------------------------------------------------------------------------


def test_who_asks_for_the_same_model_meanwhile_shares_its_load(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, go = pool_of(), threading.Event()
    workshop.before_open = lambda _: go.wait(WAIT_S)
    answers = [threads.submit(use, pool, "one") for _ in range(8)]
    until(lambda: pool.stats().hits == 7)
    go.set()
    assert [a.result(WAIT_S) for a in answers] == ["one two three"] * 8
    assert workshop.events == ["open one"] and pool.stats().loads == 1


def test_different_models_load_beside_each_other(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, both = pool_of(room=3), threading.Barrier(3, timeout=WAIT_S)
    workshop.before_open = lambda _: both.wait()  # passes only when all three are being opened
    answers = [threads.submit(use, pool, tier) for tier in NAMES]
    assert [a.result(WAIT_S) for a in answers] == ["one two three"] * 3


def test_a_failed_load_is_everybodys_and_the_next_use_tries_again(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, go = pool_of(room=1), threading.Event()

    def fail(model: str) -> None:
        go.wait(WAIT_S)
        raise ModelDamaged("truncated", model=model)

    workshop.before_open = fail
    answers = [threads.submit(use, pool, "one") for _ in range(4)]
    until(lambda: pool.stats().hits == 3)
    go.set()
    assert all(isinstance(a.exception(WAIT_S), ModelDamaged) for a in answers)
    assert pool.stats().bytes == 0
    workshop.before_open = lambda _: None
    assert use(pool, "two") == use(pool, "one") == "one two three"


def test_a_missing_model_leaves_the_pool_usable(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of(tiers=("one", "nowhere"))
    with pytest.raises(ModelMissing, match="nowhere"):
        use(pool, "nowhere")
    assert use(pool, "one") == "one two three"


def test_a_model_in_use_is_waited_for_and_never_closed(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool = pool_of(room=1)
    pool._changed = waiting = _NotedCondition()
    holder = Holder(pool, "one", threads, lambda: workshop.events.append("give back one"))
    answer = threads.submit(use, pool, "two")
    until(waiting.noted.is_set)
    holder.give_back()
    assert answer.result(WAIT_S) == "one two three"
    assert workshop.events == ["open one", "give back one", "close one", "open two"]


def test_another_model_is_closed_rather_than_waiting(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool = pool_of(room=2)
    use(pool, "two")
    holder = Holder(pool, "one", threads, lambda: None)
    use(pool, "two")  # more recent than the lease of "one"
    assert use(pool, "three") == "one two three"
    holder.give_back()
    assert workshop.events == ["open two", "open one", "close two", "open three"]


def test_a_model_that_stays_in_use_is_a_timeout_naming_it(
    pool_of: Callable[..., ModelPool], threads: ThreadPoolExecutor
) -> None:
    pool = pool_of(room=1, timeout_s=0.05)
    holder = Holder(pool, "one", threads, lambda: None)
    with pytest.raises(TimeoutError, match=r"two does not fit .* beside one, in use for 0\.05 s"):
        use(pool, "two")
    holder.give_back()
    assert use(pool, "two") == "one two three"


@pytest.mark.parametrize("end", [TimeoutError, CancelledError, KeyboardInterrupt])
def test_who_waits_longer_goes_on_where_who_came_first_gives_up(
    pool_of: Callable[..., ModelPool], threads: ThreadPoolExecutor, end: type[BaseException]
) -> None:
    pool, gives_up = pool_of(room=1), threading.Event()

    def is_cancelled() -> bool:
        if gives_up.is_set():
            raise end
        return False

    holder = Holder(pool, "one", threads, lambda: None)
    hasty = threads.submit(use, pool, "two", cancelled=is_cancelled)
    until(lambda: len(pool._slots) == 2)
    patient = threads.submit(use, pool, "two")
    until(lambda: pool.stats().hits == 1)
    gives_up.set()
    with pytest.raises(end):
        hasty.result(WAIT_S)
    holder.give_back()
    assert patient.result(WAIT_S) == "one two three"


def test_a_wait_for_a_model_can_be_cancelled(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, asked = pool_of(room=1), iter([False] * 3)
    holder = Holder(pool, "one", threads, lambda: None)
    with pytest.raises(CancelledError):
        use(pool, "two", cancelled=lambda: next(asked, True))  # for room
    holder.give_back()
    is_opening, may_open = threading.Event(), threading.Event()
    workshop.before_open = lambda model: (is_opening.set(), may_open.wait(WAIT_S))  # type: ignore[func-returns-value]
    first, asked = threads.submit(use, pool, "two"), iter([False] * 3)
    assert is_opening.wait(WAIT_S)
    with pytest.raises(CancelledError):
        use(pool, "two", cancelled=lambda: next(asked, True))  # for another thread that loads it
    may_open.set()
    assert first.result(WAIT_S) == "one two three"


def test_a_thread_whose_own_lease_is_in_the_way_is_told_at_once(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of(room=1)
    with pool.engine("one") as engine:
        with pytest.raises(RuntimeError, match=r"two does not fit .* beside one, which this thread uses"):
            use(pool, "two")
        assert complete(engine, PROMPT, OPTIONS).text == "one two three"
    assert use(pool, "two") == "one two three"


def test_threads_in_disorder_never_exceed_the_budget_or_lose_an_engine(
    pool_of: Callable[..., ModelPool], threads: ThreadPoolExecutor
) -> None:
    pool, start = pool_of(room=2), threading.Barrier(8, timeout=WAIT_S)

    def work(seed: int) -> None:
        start.wait()
        for i in range(150):
            assert use(pool, NAMES[(seed + i * i) % 3]) == "one two three"  # a closed engine would raise
            assert pool.stats().bytes <= pool.stats().budget_bytes

    for done in [threads.submit(work, seed) for seed in range(8)]:
        done.result(WAIT_S)
    stats = pool.stats()
    assert stats.loads + stats.hits == 8 * 150
    assert stats.loads == stats.evictions + len(stats.loaded)
    assert all(m.users == 0 for m in stats.loaded)


def test_a_lease_may_end_in_another_thread(pool_of: Callable[..., ModelPool], threads: ThreadPoolExecutor) -> None:
    pool, leases = pool_of(room=1), ExitStack()
    leases.enter_context(pool.engine("one"))
    threads.submit(leases.close).result(WAIT_S)
    assert use(pool, "two") == "one two three"


# -- the end ----------------------------------------------------------------------------------------------------------


def test_close_waits_for_users(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool = pool_of()
    holder = Holder(pool, "one", threads, lambda: workshop.events.append("give back one"))
    closing = threads.submit(pool.close)
    until(lambda: is_closed(pool))
    holder.give_back()
    closing.result(WAIT_S)
    assert workshop.events == ["open one", "give back one", "close one"]


def is_closed(pool: ModelPool) -> bool:
    with suppress(EngineError), pool.engine("one"):
        return False
    return True


def test_close_waits_for_a_load(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, go = pool_of(), threading.Event()
    workshop.before_open = lambda _: go.wait(WAIT_S)
    answer: Future[str] = threads.submit(use, pool, "one")
    until(lambda: pool.stats().bytes > 0)
    closing = threads.submit(pool.close)
    until(lambda: is_closed(pool))
    go.set()
    closing.result(WAIT_S)
    assert answer.result(WAIT_S) == "one two three"
    assert workshop.events == ["open one", "close one"]


def test_what_is_not_given_back_is_closed_after_the_timeout(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool = pool_of(timeout_s=0.05)
    holder = Holder(pool, "one", threads, lambda: None)
    pool.close()
    assert workshop.events == ["open one", "close one"]
    holder.give_back()


def test_a_load_that_outlasts_close_is_closed_when_it_ends(
    pool_of: Callable[..., ModelPool], workshop: Workshop, threads: ThreadPoolExecutor
) -> None:
    pool, go = pool_of(timeout_s=0.05), threading.Event()
    workshop.before_open = lambda _: go.wait(WAIT_S)
    answer = threads.submit(use, pool, "one")
    until(lambda: pool.stats().bytes > 0)
    pool.close()
    go.set()
    assert isinstance(answer.exception(WAIT_S), EngineError)
    assert workshop.events == ["open one", "close one"]


def test_closing_in_a_lease_of_its_own_does_not_wait_for_itself(pool_of: Callable[..., ModelPool]) -> None:
    pool = pool_of()
    with pool.engine("one") as engine:
        pool.close()
        with pytest.raises(EngineError, match="closed"):
            complete(engine, PROMPT, OPTIONS)


def test_closing_twice_is_fine_and_a_use_then_is_an_error(
    pool_of: Callable[..., ModelPool], workshop: Workshop
) -> None:
    pool = pool_of()
    use(pool, "one")
    pool.close()
    pool.close()
    assert workshop.events == ["open one", "close one"] and pool.stats().loaded == ()
    with pytest.raises(EngineError, match="the model pool is closed"):
        use(pool, "one")


def test_an_unknown_tier_is_named_with_the_known_ones(pool_of: Callable[..., ModelPool]) -> None:
    with pytest.raises(ValueError, match=re.escape("tier must be one of one, two, three ('four')")):
        use(pool_of(), "four")


def test_passwords_of_endpoints_are_shown_nowhere(tmp_path: Path) -> None:
    config, location = ModelsConfig(cache_dir=str(tmp_path)), "https://me:hunter2@example.org/v1#m"
    with ModelPool(GenerationConfig(model=location), config) as pool, pool.engine():
        assert "hunter2" not in repr(pool) + repr(pool.stats())
