"""The router of one brain: fed by its log, asked by the pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt

from ruvllm.checkpoints import Checkpoints, digest_of
from ruvllm.config import Config
from ruvllm.inference.runtime_engine import Probe
from ruvllm.learning.promise import Issued, PromiseFile
from ruvllm.learning.router_training import expected_of, is_kept, rows_of, train_router
from ruvllm.memory import LoggedOutcomes, Memory
from ruvllm.router.certificate import (
    Certificate,
    Refusal,
    Watch,
    certify,
    fingerprint,
    latency_factor,
    losses,
    routes,
    rows_needed,
)
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES, ProbeView
from ruvllm.router.learn import Report, with_tiers
from ruvllm.router.learnt import Estimates, Learnt
from ruvllm.router.logged import constraints_of, seen
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy
from ruvllm.router.router import Router
from ruvllm.router.sampling import Draw, Proof, Setting, proven, settings
from ruvllm.router_inputs import files_of, inputs_of, policy_of, training_of, view_of
from ruvllm.routing import Asked
from ruvllm.types import Decision, TierOutcome

__all__ = ["BrainRouter"]

logger = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
Cancelled = Callable[[], bool]

PROMISED = ("risk", "certificate_confidence", "loss", "probe")  # settings that a certificate is about, too
MAX_MOVED = 0.02  # share of the known outcomes that may have changed since a certificate was issued
SEED = 0  # of every training: the same log gives the same router
CHECKED_EVERY = 50  # questions between two looks at whether the certificate still holds


class BrainRouter:
    """Chooses who answers by what the brain's log says that tiers did. Safe to share between threads.

    The log is read at the first question; what is rated or taken back later counts from the next question on.

    Args:
        tiers: of `tiers_of`, at least two.
        seed: of all draws; another one every time when None.
    """

    def __init__(self, memory: Memory, tiers: Sequence[TierInfo], config: Config, *, seed: int | None = None) -> None:
        self._memory = memory
        self._tiers = tuple(tiers)
        self._names = [tier.name for tier in tiers]
        self._paths = config.models.tiers  # the names with which models are found
        self._models = config.models
        self._config = config.router
        self._policy = policy_of(config, self._names)
        self._seeds = np.random.SeedSequence(seed)
        self._coin, self._dice = map(np.random.default_rng, self._seeds.spawn(2))
        self._settings = settings(Setting(config.generation.temperature, config.generation.top_p))
        self._proof: Proof | None = None  # of another setting than the configured one
        folder = memory.path / "checkpoints" / "router"
        self._checkpoints = Checkpoints(folder, form=f"router-{FEATURE_VERSION}")
        self._promise = PromiseFile(folder / "certificate.json")
        self._issued: Issued | None = None
        self._watched: set[str] = set()  # ids of the calibration rows that the watch has seen
        self._watch = Watch(self._config.risk)
        self._router: Router | None = None
        self._is_stale = False
        self._asked = 0
        self._lock = threading.Lock()
        self._training = threading.Lock()

    @property
    def checkpoint(self) -> int:
        """Version of the router in force, 0 for the untrained one."""
        router = self._router
        return self._version() if router is None else router.version

    def decide(self, asked: Asked, *, probe: Callable[[], tuple[Probe, int] | None]) -> Decision:
        """Return the choice, and by a coin that knows nothing of the question whether every tier answers it."""
        router = self._ready(len(asked.vector))
        with self._lock:
            calibrates = bool(self._coin.random() < self._config.calibrate)
            self._asked += 1
            if self._issued is not None and self._asked % CHECKED_EVERY == 0:
                self._end_promise(router)

        def view() -> ProbeView | None:
            seen = probe()
            return None if seen is None else view_of(*seen)

        decision = router.decide(
            replace(inputs_of(asked), default_tier=self._policy.safe_default),
            asked.constraints,
            session=asked.session,
            probe=view if self._config.probe else None,
        )
        return self._sampled(replace(decision, calibrates=calibrates))

    def answered(self, decision: Decision, outcome: TierOutcome) -> None:
        """Let what an answer really cost, and how late it came, count for the budget and for limits of latency."""
        router = self._router
        if router is None or outcome.tier not in self._names:
            return
        chosen = decision.chosen
        limit_ms = _limit_ms(decision, self._policy) if outcome.tier == decision.tier else None
        if limit_ms is not None and not (chosen.latency_ms is not None and chosen.latency_ms <= limit_ms):
            limit_ms = None  # no tier was expected to keep it
        places = self._names.index(decision.tier), self._names.index(outcome.tier)
        router.answered(*places, cost=outcome.cost, latency_ms=outcome.latency_ms, limit_ms=limit_ms)

    def heard(self, id: str) -> None:
        """Let what was said about one answer count."""
        logged = self._logged(id)
        others = [self._logged(other) for other in self._memory.crowded_out(id)]
        with self._lock:  # after a reading of the log that has begun, which may have missed it
            router = self._router
            if router is None or self._is_stale:
                return
            if len(logged) and logged.vectors.shape[1] != router.memory.native_dim:  # the brain has moved
                self._is_stale = True
                return
            if self._issued is None:  # a certificate is about scores that come of the outcomes known then
                for one in (logged, *others):
                    _remember(router.memory, one)
                    _correct(router.memory, one)
            self._watch_over(router, logged)

    def forget(self) -> None:
        """Read the log anew before the next question, and let every session start anew: one may have been deleted."""
        self._is_stale = True
        router = self._router
        if router is not None:
            router.forget_sessions()

    def sampling(self) -> Proof | None:
        """Return the temperature and top_p that logged draws proved better than the configured ones; None if none."""
        return self._proof

    # -- learning ----------------------------------------------------------------------------------------------------

    def train(self, cancelled: Cancelled = lambda: False) -> Report:
        """Train on the whole log; adopt what judges requests it never saw better than what is in force.

        Half of the rows drawn for calibration are left out: certificates need rows that nothing was trained on. Until
        the new version is on disk, and where training fails or is stopped, the old one decides. Nothing is tried where
        it, or one that was taken back, was made of the same ratings, tiers and settings.

        Raises:
            RuntimeError: a training is running.
        """
        if not self._training.acquire(blocking=False):
            raise RuntimeError("the router is being trained already")
        try:
            logged = self._logged(pause=cancelled)
            self._proof = self._proof_of(logged)
            dim, embedder = logged.vectors.shape[1], self._embedder()
            before = self._ready(dim).learnt if dim else None
            training, rated = training_of(self._config), _without_proof(logged)
            asked_for = [embedder, list(map(repr, self._tiers)), self._policy.safe_default, asdict(training)]
            taught = digest_of([rated.ids, rated.quality.tolist(), *asked_for])
            reason = self._checkpoints.nothing_new(self.checkpoint, taught)
            if reason:
                labels = int((~np.isnan(rated.quality)).sum())
                return Report(len(rated), labels, None, None, accepted=False, reason=reason)
            learnt, report = train_router(
                rated,
                self._tiers,
                before,
                training,
                default_tier=self._policy.safe_default,
                seed=SEED,
                cancelled=cancelled,
            )
            if learnt is not None:
                how = {"training": asdict(training), "seed": SEED, "report": asdict(report), "taught": taught}
                about = learnt.about() | {"embedder": embedder} | how
                version = self._checkpoints.save(learnt.trained.params, about, learnt.arrays())
                self._adopt(self._ready(dim), learnt, version)
                logger.info("version %d of the router is in force", version)
            return report
        finally:
            self._training.release()

    def rollback(self) -> int:
        """Put the version before in force again; return its number, 0 for none: then the safe default answers."""
        version = self._checkpoints.rollback()
        router = self._router
        if router is not None:
            self._adopt(router, self._saved(), version)
        return version

    def certify(self) -> Certificate | Refusal:
        """Issue a certificate on the calibration rows of the log, or say why there is none; durable on return.

        Each call is another attempt, and spends of the same confidence (`certificate.spent`). Rows count whose every
        answer was judged, by a judge or a task; what somebody chose to say by feedback does not.

        Raises:
            RuntimeError: a training is running.
        """
        if not self._training.acquire(blocking=False):
            raise RuntimeError("the router is being trained: certify what comes of it")
        try:
            return self._certify()
        finally:
            self._training.release()

    def _certify(self) -> Certificate | Refusal:
        logged = self._logged()
        router = self._ready(logged.vectors.shape[1]) if len(logged) else None
        learnt = None if router is None else router.learnt
        if router is None or learnt is None:
            needed = rows_needed(self._config.risk, 1.0 - self._config.certificate_confidence)
            return Refusal(("no router was trained yet: there is nothing to certify",), 1.0, needed)
        with self._lock:
            attempt = self._promise.load()[1] + 1
            self._promise.save(None, attempt)  # spent from here on, whatever happens
            router.memory = self._memory_of(logged, router.memory.native_dim)
        rows = rows_of(logged, np.flatnonzero(_proves(logged)))
        said = sorted(set(rows.sources.ravel().tolist()) - {""})
        expected = self._expected(rows, router) if len(rows) else None
        shape = (len(rows), len(self._tiers))
        verdict = certify(
            np.empty(shape) if expected is None else expected.quality.astype(np.float64),
            rows.quality.astype(np.float64),
            floor=self._config.quality_floor,
            risk=self._config.risk,
            confidence=self._config.certificate_confidence,
            loss=self._config.loss,
            attempt=attempt,
            label_source=", ".join(said) or "nobody",
            bound_to=self._bound_to(router),
        )
        issued = None
        if isinstance(verdict, Certificate) and expected is not None:
            factor = _latency_factor(rows, expected, verdict)
            verdict = replace(verdict, latency_factor=factor)
            there, _ = self._memory.added_since(0, 0.0)
            newest = self._memory.newest_node()
            issued = Issued(verdict, time.time(), there, newest, *_outcomes(router.memory))
        with self._lock:
            self._promise.save(issued, attempt)
            self._start_promise(issued)
            router.certify(None if issued is None else issued.certificate.threshold)
        return verdict

    def promise(self) -> Certificate | None:
        """Return the certificate in force; None without one."""
        return None if self._issued is None else self._issued.certificate

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ready(self, native_dim: int) -> Router:
        with self._lock:
            if self._router is None:
                seed = int(self._seeds.generate_state(1)[0])
                logged = self._logged()
                self._proof = self._proof_of(logged)
                router = Router(self._tiers, self._memory_of(logged, native_dim), self._policy, seed=seed)
                router.adopt(learnt := self._saved(), self._version() if learnt is not None else 0)
                self._start_promise(self._promise.load()[0])
                self._router = router
                self._end_promise(router)
                self._watch_over(router, logged)
            elif self._is_stale or self._router.memory.native_dim != native_dim:
                has_moved = self._router.memory.native_dim != native_dim
                self._is_stale = False  # first: what is forgotten during the reading counts after it
                try:
                    self._router.memory = self._memory_of(self._logged(), native_dim)
                except BaseException:
                    self._is_stale = True
                    raise
                if has_moved:
                    self._router.adopt(None, 0)
                self._end_promise(self._router)
            return self._router

    def _sampled(self, decision: Decision) -> Decision:
        """Return the decision with temperature and top_p: drawn now and then, else what was proven, else left open."""
        share = self._config.explore_sampling
        if self._config.certified or share == 0.0:
            return decision
        with self._lock:
            is_drawn = self._config.explore > 0.0 and not decision.calibrates and self._dice.random() < share
            place = int(self._dice.integers(len(self._settings))) if is_drawn else 0
        if is_drawn:
            one = self._settings[place]
            chance = 1.0 / len(self._settings)
            return replace(decision, temperature=one.temperature, top_p=one.top_p, sampling_chance=chance)
        if self._proof is None:
            return decision
        return replace(decision, temperature=self._proof.setting.temperature, top_p=self._proof.setting.top_p)

    def _proof_of(self, logged: LoggedOutcomes) -> Proof | None:
        """Return the setting that rated draws prove better than the configured one."""
        known = np.where(logged.shown, logged.quality, np.float32(np.nan))
        is_rated = np.isfinite(known).any(axis=1)
        said = {logged.ids[i]: float(np.nanmax(known[i])) for i in np.flatnonzero(is_rated)}
        draws = [
            Draw(
                Setting(one.temperature, one.top_p),
                one.chance,
                one.expected,
                said[id],
            )
            for id, one in self._memory.sampling_draws().items()
            if id in said
        ]
        proof = proven(draws, self._settings[0])
        if proof is not None:
            logger.info("%s gains %.3f in quality over %s", proof.setting, proof.gain.value, self._settings[0])
        return proof

    def _adopt(self, router: Router, learnt: Learnt | None, version: int) -> None:
        with self._lock:
            router.adopt(learnt, version)
            self._end_promise(router)

    def _saved(self) -> Learnt | None:
        """Return the version in force for today's tiers; None where there is none, or none that can be used."""
        checkpoint = self._checkpoints.current()
        if checkpoint is None:
            return None
        if checkpoint.about.get("embedder") != self._embedder():
            logger.warning("version %d of the router was made for another embedder", checkpoint.version)
            return None
        try:
            return with_tiers(Learnt.restored(checkpoint.params, checkpoint.arrays, checkpoint.about), self._tiers)
        except ValueError as error:
            logger.warning("version %d of the router is not used: %s", checkpoint.version, error)
            return None

    def _embedder(self) -> str:
        return self._memory.stats().embedder or ""

    def _version(self) -> int:
        checkpoint = self._checkpoints.current()
        return 0 if checkpoint is None else checkpoint.version

    def _start_promise(self, issued: Issued | None) -> None:
        """Begin to watch over a certificate. The lock is held."""
        self._issued = issued
        self._watched.clear()
        self._watch = Watch(self._config.risk)

    def _watch_over(self, router: Router, logged: LoggedOutcomes) -> None:
        """Look whether calibration rows that came since break the certificate's promise. The lock is held."""
        if self._issued is None or router.learnt is None:
            return
        certificate = self._issued.certificate
        is_row = _proves(logged) & (logged.created > self._issued.at)
        places = [i for i in np.flatnonzero(is_row) if logged.ids[i] not in self._watched]
        if not places:
            return
        rows = rows_of(logged, np.array(places, np.int64))
        tiers = routes(self._expected(rows, router).quality.astype(np.float64), certificate.threshold)
        lost = losses(rows.quality.astype(np.float64), certificate.floor, certificate.loss)
        self._watched.update(rows.ids)
        for i, tier in enumerate(tiers):
            if self._watch.observe(float(lost[i, tier])):
                self._end(router, "newer calibration rows break its promise")
                return

    def _expected(self, rows: LoggedOutcomes, router: Router) -> Estimates:
        """Return what the router in force expects of every tier on rows that it does not know."""
        assert router.learnt is not None
        return expected_of(rows, router.memory, router.learnt, default_tier=self._policy.safe_default)

    def _end_promise(self, router: Router) -> None:
        """Put the certificate in force, or end it and say why. The lock is held."""
        if self._issued is None:
            router.certify(None)
            return
        added, requests = self._memory.added_since(self._issued.newest_node, self._issued.at)
        why = self._issued.certificate.ended(
            self._bound_to(router), requests=requests, new_nodes=added / max(self._issued.nodes, 1)
        )
        known, good = _outcomes(router.memory)
        moved = abs(known - self._issued.known) + abs(good - self._issued.good)
        if why is None and moved > MAX_MOVED * max(self._issued.known, 1.0):
            why = "what is known of earlier answers changed"
        if why is None:
            router.certify(self._issued.certificate.threshold)
            return
        self._end(router, why)

    def _end(self, router: Router, why: str) -> None:
        """End the certificate: for good, unless it is about something else than what is in force. The lock is held."""
        logger.warning("the certificate has ended: %s", why)
        assert self._issued is not None
        is_ours = self._issued.certificate.bound_to == self._bound_to(router)
        self._start_promise(None)
        router.certify(None)
        self._is_stale = True  # what was heard meanwhile counts from now on
        if is_ours and not self._memory.read_only:
            self._promise.save(None, self._promise.load()[1])

    def _bound_to(self, router: Router) -> dict[str, str]:
        policy = replace(self._policy, threshold=None)
        return {
            "namespace": self._memory.namespace,
            "router": "" if router.learnt is None else router.learnt.sha256(),
            "models": fingerprint(*map(repr, self._tiers), *(files_of(name, self._models) for name in self._paths)),
            "embedder": self._embedder(),
            "policy": fingerprint(repr(policy), repr([getattr(self._config, name) for name in PROMISED])),
        }

    def _memory_of(self, logged: LoggedOutcomes, native_dim: int) -> OutcomeMemory:
        memory = OutcomeMemory(self._tiers, native_dim)
        _remember(memory, logged)
        logger.info("the router knows %d questions", len(memory))
        return memory

    def _logged(self, id: str | None = None, *, pause: Callable[[], object] = lambda: None) -> LoggedOutcomes:
        return self._memory.logged_outcomes(
            self._names, num_features=NUM_FEATURES, feature_version=FEATURE_VERSION, id=id, pause=pause
        )


def _limit_ms(decision: Decision, policy: Policy) -> float | None:
    """Return within how many milliseconds an answer should have come; None where nobody said."""
    made = seen(decision)
    asked = constraints_of(made.features, made.present).max_latency_ms
    return policy.max_latency_ms if asked is None else asked


def _is_proof(logged: LoggedOutcomes) -> Bools:
    """Return which rows only certificates may use: half of those that the coin drew, by their ids."""
    return np.array([c and is_kept(id, 2) for c, id in zip(logged.calibrates, logged.ids, strict=True)], np.bool_)


def _proves(logged: LoggedOutcomes) -> Bools:
    """Return which rows a certificate can be issued on: every tier's answer was judged, by nobody who chose to."""
    is_judged = np.asarray(~(np.isnan(logged.quality) | logged.volunteered).any(axis=1))
    return _is_proof(logged) & is_judged


def _latency_factor(rows: LoggedOutcomes, expected: Estimates, certificate: Certificate) -> float | None:
    """Return how many times its expected latency an answer takes at most, at the certificate's risk; None: unknown."""
    tier = routes(expected.quality.astype(np.float64), certificate.threshold)
    at = np.arange(len(rows)), tier
    real, told = rows.latency_ms[at].astype(np.float64), expected.latency_ms[at].astype(np.float64)
    known = real > 0.0
    factor = latency_factor(real[known], told[known], certificate.risk)
    return factor if np.isfinite(factor) else None


def _without_proof(logged: LoggedOutcomes) -> LoggedOutcomes:
    """Return what may be learnt from: rated rows that no certificate needs."""
    is_rated = np.asarray((~np.isnan(logged.quality)).any(axis=1))
    return rows_of(logged, np.flatnonzero(~_is_proof(logged) & is_rated))


def _outcomes(memory: OutcomeMemory) -> tuple[float, float]:
    """Return how many qualities are known, and their sum."""
    known, good = memory.totals()
    return float(known.sum()), float(good.sum())


def _correct(memory: OutcomeMemory, logged: LoggedOutcomes) -> None:
    """Let what counts no longer be unknown, in rows that the memory holds."""
    latency_ms = _latencies(logged)
    for i in np.flatnonzero(~_is_proof(logged)):
        memory.correct(logged.ids[i], logged.quality[i], latency_ms[i])


def _latencies(logged: LoggedOutcomes) -> npt.NDArray[np.float32]:
    return np.where(logged.latency_ms > 0.0, logged.latency_ms, np.float32(np.nan))


def _remember(memory: OutcomeMemory, logged: LoggedOutcomes) -> None:
    """Put rated rows into the memory: others would take the places of neighbours that tell something."""
    logged = _without_proof(logged)
    if len(logged):
        memory.extend(logged.ids, logged.texts, logged.vectors, logged.quality, _latencies(logged))
