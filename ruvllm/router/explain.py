"""Why a logged decision was taken: what its score is made of, and the least change that would have changed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.router.features import FEATURES, GROUPS, NUM_FEATURES
from ruvllm.router.learnt import MAX_NUDGE, Estimates, Learnt, estimates
from ruvllm.router.logged import Seen, constraints_of, seen
from ruvllm.router.model import NUM_EVIDENCE, TierInputs, logit, prior_quality
from ruvllm.router.policy import Policy, choose
from ruvllm.types import Decision

__all__ = ["EVIDENCE", "Contribution", "Counterfactual", "Explanation", "explain"]

Floats = npt.NDArray[np.floating]

EVIDENCE = (
    ("near_quality", -MAX_NUDGE, MAX_NUDGE),
    ("lexical_quality", -MAX_NUDGE, MAX_NUDGE),
    ("outcome_count", -1.0, 1.0),
    ("quality_spread", 0.0, 1.0),
    ("nearest_similarity", -3.0, 1.0),
)
"""Name and range of the numbers of `TierInputs.evidence`, in order."""

OTHER_GROUPS = ("size", "evidence", "network", "session")  # of what is no feature
MAX_RESIDUAL = 1e-3  # of the quadrature, spread over the contributions
NODES = 8  # of Gauss and Legendre, a piece of the path
PIECES = (16, 64, 512)  # of the path: more where the quadrature has not converged
MAX_EARLIER = 15  # turns of a session that can still be in its state
MAX_GAP = 1e-3  # between the quality that was logged and the one that is computed anew
STEPS = 80  # of a number's range that are tried for a counterfactual
HALVINGS = 10  # of such a step


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one number added to the quality logit of the chosen tier.

    Attributes:
        group: one of `GROUPS`, or of `OTHER_GROUPS`: the tier's size; what near outcomes say; what the network adds to
            the tier whatever is asked; what the session's earlier turns add.
        value: of the number, in the unit of its source; None where it is none.
    """

    name: str
    group: str
    amount: float
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The least change of one number that changes the tier; `before` and `after` are in the unit of its source.

    Attributes:
        of_tier: whose evidence it is; None for a feature, and for evidence that all tiers share.
        distance: in the feature's scale, about standard deviations.
        tier: that would answer then.
    """

    name: str
    group: str
    of_tier: str | None
    before: float
    after: float
    distance: float
    tier: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a tier was chosen.

    Attributes:
        tier: the chosen one. score: its quality logit, before calibration: the sum of `contributions`.
        quality: what became of it, calibrated and drawn to the tier's mean by what is not familiar.
        familiarity: in [0, 1], how like the training questions it is.
        contributions: the largest first, either way; those of absent features are left out.
        counterfactual: None where no single number, within its range, changes the choice.
        policy_tier: what the policy chooses, without exploration; another one than `tier` where that was drawn, or the
            policy has changed since. The counterfactual is about this choice.
    """

    tier: str
    score: float
    quality: float
    familiarity: float
    contributions: tuple[Contribution, ...]
    counterfactual: Counterfactual | None
    policy_tier: str

    @property
    def groups(self) -> Mapping[str, float]:
        """The contributions of each group together, the largest first, either way; they sum to the score too."""
        sums = dict.fromkeys((*OTHER_GROUPS, *GROUPS), 0.0)
        for one in self.contributions:
            sums[one.group] += one.amount
        return dict(sorted(sums.items(), key=lambda item: -abs(item[1])))


def explain(
    decision: Decision, learnt: Learnt, version: int, policy: Policy, *, earlier: Sequence[Decision] = ()
) -> Explanation:
    """Return why a decision was taken.

    The score z = logit(p) + e . d is the logit of what near outcomes say, and a linear head over the tier's descriptor
    d, whose weights e the network computes from the features. The part that features x and evidence v have in e . d is
    divided by integrated gradients from nothing known, a_i = x_i int_0^1 dz/dx_i (t x, t v) dt: whatever two numbers do
    together is shared between them, and all parts sum to the score.

    Args:
        learnt, version: the checkpoint that decided.
        earlier: decisions of the same session before this one, oldest first.

    Raises:
        ValueError: the decision has features of another version, or this checkpoint did not take it.

    Source: Sundararajan, Taly and Yan 2017 (arXiv:1703.01365).
    """
    if decision.checkpoint != version:
        raise ValueError(f"decision was taken by checkpoint {decision.checkpoint}, not by {version}")
    names = [one.tier for one in decision.estimates]
    if names != [tier.name for tier in learnt.tiers]:
        raise ValueError(f"learnt must be about the tiers of the decision ({', '.join(names)})")
    case = _replayed(decision, learnt, earlier)
    tier = names.index(decision.tier)
    score, contributions = _contributions(learnt, case, tier)
    expected = case.expected
    policy_tier = case.choices(learnt, policy, case.row[np.newaxis])[0]
    return Explanation(
        tier=decision.tier,
        score=score,
        quality=float(expected.quality[0, tier]),
        familiarity=float(expected.familiarity[0]),
        contributions=tuple(sorted(contributions, key=lambda one: -abs(one.amount))),
        counterfactual=_counterfactual(learnt, policy, case, policy_tier),
        policy_tier=names[policy_tier],
    )


# -- the decision, taken again ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A decision with the session's state before it; `expected` has a first axis of 1."""

    seen: Seen
    state: Floats
    previous: int | None
    expected: Estimates

    @property
    def row(self) -> Floats:
        """The numbers that a counterfactual may change: features, then evidence by tier, float32."""
        return np.concatenate([self.seen.features, self.seen.told.evidence.ravel()])

    def choices(self, learnt: Learnt, policy: Policy, rows: Floats) -> npt.NDArray[np.int64]:
        """Return the tier that the policy chooses for each of such rows, without exploration; -1 where none may."""
        told = self.seen.told
        shape = (len(rows), len(learnt.tiers))
        inputs = TierInputs(
            quality=np.broadcast_to(told.quality, shape),
            latency_ms=np.broadcast_to(told.latency_ms, shape),
            evidence=rows[:, NUM_FEATURES:].reshape(*shape, NUM_EVIDENCE),
        )
        expected = _judged(learnt, rows[:, :NUM_FEATURES], inputs, self.state)
        sure = (expected.confidence * expected.familiarity).tolist()
        settled, rng = replace(policy, explore=0.0), np.random.default_rng(0)  # draws nothing
        found = np.full(len(rows), -1, np.int64)
        for i, (row, quality, latency) in enumerate(
            zip(rows, expected.quality.tolist(), expected.latency_ms.tolist(), strict=True)
        ):
            limits = constraints_of(row[:NUM_FEATURES], self.seen.present)
            if limits.privacy == "local" and not any(tier.is_local for tier in learnt.tiers):
                continue
            found[i] = choose(
                learnt.tiers, quality, latency, sure[i], settled, limits, rng, previous=self.previous
            ).tier
        return found


def _judged(learnt: Learnt, features: Floats, inputs: TierInputs, state: Floats) -> Estimates:
    """Return the estimates of n rows from one state."""
    states = np.tile(state, (len(features), 1))
    _, outputs = learnt.model.cell.step_batch(np.ascontiguousarray(features), states)
    nearest = (inputs.evidence[:, 0, -1] + 1.0) / 2.0
    return estimates(learnt, learnt.model.read(outputs, inputs), nearest)


def _replayed(decision: Decision, learnt: Learnt, earlier: Sequence[Decision]) -> _Case:
    """Return the decision with the state that gives its estimates: that of as many earlier turns as fit."""
    now = seen(decision)
    told = TierInputs(*(getattr(now.told, name)[np.newaxis] for name in TierInputs.__slots__))
    logged = np.array([np.nan if one.quality is None else one.quality for one in decision.estimates])
    turns = [one for one in earlier if one.checkpoint == decision.checkpoint][-MAX_EARLIER:]
    for first in range(len(turns) + 1):
        state = learnt.model.initial_state()
        for turn in turns[first:]:
            before = seen(turn)
            state, _ = learnt.model.step(before.features, state, before.told)
        expected = _judged(learnt, now.features[np.newaxis], told, state)
        if np.abs(expected.quality[0] - logged).max() < MAX_GAP:
            names = [tier.name for tier in learnt.tiers]
            kept = [names.index(turn.tier) for turn in turns[first:] if not turn.explored]  # as the router does
            previous = kept[-1] if kept else None
            return _Case(now, state, previous, expected)
    raise ValueError(
        f"decision does not follow from checkpoint {decision.checkpoint}: that is another one by now, or earlier turns "
        "of the session are not known"
    )


# -- contributions ---------------------------------------------------------------------------------------------------


def _contributions(learnt: Learnt, case: _Case, tier: int) -> tuple[float, list[Contribution]]:
    """Return the score of a tier and what it is made of."""
    features, told, model = case.seen.features, case.seen.told, learnt.model
    own = model.describe(told)[tier].astype(np.float64)
    static, evidence = own[:-NUM_EVIDENCE], own[-NUM_EVIDENCE:]
    rows = model.rows("quality")

    def weights(x: Floats, state: Floats) -> Floats:
        return model.cell.step(x.astype(np.float32), state)[1][rows].astype(np.float64)

    nothing = np.zeros_like(features)
    offset = float(weights(nothing, model.initial_state())[:-NUM_EVIDENCE] @ static)
    in_session = float(weights(nothing, case.state)[:-NUM_EVIDENCE] @ static)
    final = float(weights(features, case.state) @ own)
    shares = _integrated(learnt, case, own, final - in_session)
    size = float(logit(np.array(prior_quality(learnt.tiers[tier]))))
    told_before = float(logit(told.quality.astype(np.float64))[tier])
    found = [
        Contribution("size", "size", size),
        Contribution("near_outcomes", "evidence", told_before - size, float(told.quality[tier])),
        Contribution("offset", "network", offset),
        Contribution("earlier_turns", "session", in_session - offset),
        *(
            Contribution(name, "evidence", float(amount), float(value))
            for (name, *_), amount, value in zip(EVIDENCE, shares[NUM_FEATURES:], evidence, strict=True)
        ),
        *(
            Contribution(slot.name, slot.group, float(amount), float(value * slot.scale + slot.centre))
            for slot, amount, value, is_there in zip(FEATURES, shares, features, case.seen.present, strict=False)
            if is_there
        ),
    ]
    return told_before + final, found


def _integrated(learnt: Learnt, case: _Case, own: Floats, total: float) -> Floats:
    """Return the shares of features and evidence in `total`, (128 + NUM_EVIDENCE,); what quadrature misses is spread.

    Args:
        own: (D,) the tier's descriptor.
    """
    model, rows = learnt.model, learnt.model.rows("quality")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    for pieces in PIECES:
        t = ((np.arange(pieces)[:, np.newaxis] + (nodes + 1.0) / 2.0) / pieces).ravel()  # along the path, 0 to 1
        w = np.tile(weights / 2.0 / pieces, pieces)
        x = (t[:, np.newaxis] * case.seen.features).astype(np.float32)
        _, outputs, tape = model.cell.forward_with_tape(x[:, np.newaxis], np.tile(case.state, (len(t), 1)))
        d = np.tile(own, (len(t), 1))
        d[:, -NUM_EVIDENCE:] *= t[:, np.newaxis]
        d_outputs = np.zeros(outputs.shape, np.float32)
        d_outputs[:, 0, rows] = d
        d_x = tape.backward(d_logits=d_outputs, want_d_x=True).x
        assert d_x is not None
        of_evidence = own[-NUM_EVIDENCE:] * (w @ outputs[:, 0, rows[-NUM_EVIDENCE:]])
        shares = np.concatenate([case.seen.features * (w @ d_x[:, 0]), of_evidence])
        residual = total - float(shares.sum())
        if abs(residual) < MAX_RESIDUAL:
            break
    else:
        raise ArithmeticError(f"the contributions miss the score by {residual:.1e}")
    size = np.abs(shares)
    return shares + residual * (size / size.sum() if size.any() else np.full(len(size), 1.0 / len(size)))


# -- counterfactual --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Knob:
    """A number of `_Case.row` that may be turned within its range; evidence that tiers share has several places."""

    places: tuple[int, ...]
    low: float
    high: float


def _knobs(case: _Case) -> list[_Knob]:
    num_tiers = len(case.seen.told.quality)
    own = [_Knob((i,), FEATURES[i].low, FEATURES[i].high) for i in np.flatnonzero(case.seen.present).tolist()]
    for j, (_, low, high) in enumerate(EVIDENCE):
        places = [NUM_FEATURES + NUM_EVIDENCE * tier + j for tier in range(num_tiers)]
        is_shared = j == NUM_EVIDENCE - 1
        own += [_Knob(tuple(places), low, high)] if is_shared else [_Knob((place,), low, high) for place in places]
    return own


def _counterfactual(learnt: Learnt, policy: Policy, case: _Case, tier: int) -> Counterfactual | None:
    """Return the least change of one number that makes the policy choose another tier than `tier`."""
    row, knobs = case.row, _knobs(case)

    def changes(turned: Sequence[_Knob], values: Floats) -> npt.NDArray[np.int64]:
        rows = np.repeat(row[np.newaxis], len(turned), axis=0)
        for one, knob, value in zip(rows, turned, values, strict=True):
            one[list(knob.places)] = value
        found = case.choices(learnt, policy, rows)
        return np.where(found == -1, tier, found)

    turned, same, changed = _brackets(row, knobs, tier, changes)
    if not turned:
        return None
    for _ in range(HALVINGS):
        middle = (same + changed) / 2.0
        is_same = changes(turned, middle) == tier
        same, changed = np.where(is_same, middle, same), np.where(is_same, changed, middle)
    start = np.array([row[knob.places[0]] for knob in turned])
    best = int(np.abs(changed - start).argmin())
    then = int(changes(turned[best : best + 1], changed[best : best + 1])[0])
    return _named(learnt, turned[best], float(start[best]), float(changed[best]), then)


def _brackets(
    row: Floats,
    knobs: Sequence[_Knob],
    tier: int,
    changes: Callable[[Sequence[_Knob], Floats], npt.NDArray[np.int64]],
) -> tuple[list[_Knob], Floats, Floats]:
    """Return the knobs that change the choice, with the last value on the way that does not and the first that does.

    A knob that does so both ways is there twice.
    """
    ways = [(knob, end) for knob in knobs for end in (knob.low, knob.high) if row[knob.places[0]] != end]
    steps = np.linspace(0.0, 1.0, STEPS + 1)[1:]
    start = np.array([row[knob.places[0]] for knob, _ in ways], np.float64)
    ends = np.array([end for _, end in ways])
    values = start[:, np.newaxis] + steps * (ends - start)[:, np.newaxis]
    turned = [knob for knob, _ in ways for _ in steps]
    differs = (changes(turned, values.ravel()) != tier).reshape(values.shape)
    hits = np.flatnonzero(differs.any(axis=1))
    first = differs[hits].argmax(axis=1)
    last = np.where(first > 0, values[hits, first - 1], start[hits])
    return [ways[i][0] for i in hits], last, values[hits, first]


def _named(learnt: Learnt, knob: _Knob, before: float, after: float, tier: int) -> Counterfactual:
    place, distance, then = knob.places[0], abs(after - before), learnt.tiers[tier].name
    if place < NUM_FEATURES:
        slot = FEATURES[place]
        before, after = (value * slot.scale + slot.centre for value in (before, after))
        return Counterfactual(slot.name, slot.group, None, before, after, distance, then)
    of_tier, number = divmod(place - NUM_FEATURES, NUM_EVIDENCE)
    whose = learnt.tiers[of_tier].name if len(knob.places) == 1 else None
    return Counterfactual(EVIDENCE[number][0], "evidence", whose, before, after, distance, then)
