"""Where the nodes of a drawn graph lie: force-directed from rings, then no two labels on top of each other."""

from __future__ import annotations

import numpy as np

__all__ = ["place"]

ROUNDS = 300
GRAVITY = 0.6  # towards the centre, so that parts without links between them stay on the page
SPACING = 84.0  # pixels that one unit of the forces becomes
STRETCH = 1.5  # labels are wide: the picture is wider than high
PUSHES = 2000
PATIENCE = 60  # rounds of pushing before the whole is also pulled apart


def place(sizes: np.ndarray, links: np.ndarray, weights: np.ndarray, rings: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return (n, 2) float64 centres in pixels, around (0, 0), of boxes that do not overlap; same seed, same places.

    Args:
        sizes: (n, 2) float64 width and height of each node with its label, in pixels.
        links: (m, 2) int64 positions of the two ends.
        weights: (m,) float64 in [0, 1]; heavier links are shorter.
        rings: (n,) int64 hops from the centre; the start lies on circles of this radius.

    Source: Fruchterman and Reingold 1991, with a pull towards the centre.
    """
    rng = np.random.default_rng(seed)
    points = _on_rings(rings, links, rng)
    for step in range(ROUNDS):
        moves = _forces(points, links, weights)
        lengths = np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-9)
        points = points + moves / lengths * np.minimum(lengths, 0.5 * (1.0 - step / ROUNDS))
    return _pushed_apart(points * (SPACING * STRETCH, SPACING), sizes)


def _on_rings(rings: np.ndarray, links: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n, 2) places on circles; a node starts in the direction of one that it is linked to further in."""
    angles = rng.uniform(0.0, 2.0 * np.pi, len(rings))
    for ring in range(1, int(rings.max(initial=0)) + 1):
        members = np.flatnonzero(rings == ring)
        order = sorted(members.tolist(), key=lambda i: (_inner_angle(i, rings, links, angles), i))
        angles[order] = 2.0 * np.pi * np.arange(len(order)) / max(len(order), 1)
    radius = rings + rng.uniform(0.01, 0.1, len(rings))
    return np.asarray(radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _inner_angle(i: int, rings: np.ndarray, links: np.ndarray, angles: np.ndarray) -> float:
    ends = np.concatenate([links[links[:, 0] == i, 1], links[links[:, 1] == i, 0]])
    inner = ends[rings[ends] < rings[i]]
    return float(angles[inner.min()]) if len(inner) else 0.0


def _forces(points: np.ndarray, links: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (n, 2): 1 / d away from every other node, d^2 along links, and a constant pull inwards."""
    away = points[:, None, :] - points[None, :, :]  # (n, n, 2)
    squares = np.maximum((away**2).sum(axis=2), 1e-4)
    forces = (away / squares[:, :, None]).sum(axis=1) - GRAVITY * points
    along = points[links[:, 0]] - points[links[:, 1]]
    pull = along * (np.linalg.norm(along, axis=1) * (0.3 + weights))[:, None]
    np.add.at(forces, links[:, 0], -pull)
    np.add.at(forces, links[:, 1], pull)
    return np.asarray(forces)


def _pushed_apart(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the places after each overlapping pair has moved apart, along the axis where less is missing."""
    needed = (sizes[:, None, :] + sizes[None, :, :]) / 2.0  # (n, n, 2)
    tie = np.sign(np.arange(len(points))[:, None] - np.arange(len(points))[None, :])  # for nodes in one place
    for step in range(PUSHES):
        apart = points[:, None, :] - points[None, :, :]
        missing = needed - np.abs(apart)
        overlaps = (missing > 1e-6).all(axis=2)
        np.fill_diagonal(overlaps, False)
        if not overlaps.any():
            break
        axis = missing.argmin(axis=2)[:, :, None] == np.arange(2)
        side = np.where(apart == 0.0, tie[:, :, None], np.sign(apart))
        points = points + np.where(overlaps[:, :, None] & axis, side * (missing + 0.5) / 2.0, 0.0).sum(axis=1)
        if step > PATIENCE:
            points = points * 1.01
    return np.asarray(points - (points.min(axis=0, initial=0.0) + points.max(axis=0, initial=0.0)) / 2.0)
