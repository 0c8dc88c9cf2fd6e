"""`ruvllm bench gates`: the eight quality gates in one table; what was not measured is no pass."""

from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.bench.forgetting import INTERACTIONS
from ruvllm.bench.latency import LATENCY
from ruvllm.bench.quality import COVERAGE, F1, GOLD, QUALITY
from ruvllm.bench.report import Report, Row, make_report

__all__ = ["COVERAGE_FILE", "TESTS_FILE", "gates", "read_results", "run_tests", "with_report"]

COVERAGE_FILE, TESTS_FILE = "coverage.json", "tests.xml"
MEBIBYTES = 4096.0
NODES, EDGES, REQUESTS = 1_000_000, 5_000_000, 10_000  # that memory, leaks and forgetting are measured at, at least
QUESTIONS = 100  # of each set whose quality counts, at least
MIN_COVERAGE = 0.7  # of the questions that are answered, for their quality to count
SETS = {"LoCoMo": "locomo", "XQuAD": "xquad"}  # what the name of the data says

Rows = Sequence[Mapping[str, Any]]


def read_results(folder: Path) -> dict[str, list[Rows]]:
    """Return the rows of every report in a folder, what `ruvllm bench ... --json` printed, by the name of its bench.

    Raises:
        ValueError: the folder is not there.
    """
    if not folder.is_dir():
        raise ValueError(f"results: {folder} is not a folder")
    found: dict[str, list[Rows]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            report = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ValueError(f"results: {path} is not the output of a bench: {error}") from error
        if "bench" in report and "rows" in report:
            found.setdefault(report["bench"], []).append(report["rows"])
    return found


def with_report(results: dict[str, list[Rows]], *reports: Report) -> dict[str, list[Rows]]:
    """Return results with those of a bench that just ran in the place of saved ones of its name."""
    return results | {reports[0].bench: [msgspec.json.decode(msgspec.json.encode(r.rows)) for r in reports]}


def gates(results: Mapping[str, list[Rows]], folder: Path | None = None) -> Report:
    """Return the table of the gates.

    Args:
        results: of `read_results`.
        folder: where the tests' own files lie, `COVERAGE_FILE` and `TESTS_FILE`.
    """
    rows = [
        _coverage(folder),
        _integration(folder),
        _latency(results.get("latency", [])),
        *_quality(results.get("quality", [])),
        _router(results.get("routers", [])),
        _memory(results.get("footprint", [])),
        _leaks(results.get("soak", [])),
        _forgetting(results.get("forgetting", [])),
    ]
    return make_report("gates", rows)


def run_tests(checkout: Path, folder: Path, *, timeout_s: float) -> None:
    """Run the tests of a checkout, and leave their coverage and their results in a folder.

    Raises:
        ValueError: there are no tests there.
        TimeoutError: they did not end in time; nothing of them counts then.
    """
    if not (checkout / "tests").is_dir():
        raise ValueError(f"tests: there are none in {checkout}; they come with the source, not with the package")
    for name in (COVERAGE_FILE, TESTS_FILE):
        (folder / name).unlink(missing_ok=True)
    options = ["-q", "--cov", f"--cov-report=json:{folder / COVERAGE_FILE}", f"--junitxml={folder / TESTS_FILE}"]
    try:
        subprocess.run([sys.executable, "-m", "pytest", *options], cwd=checkout, timeout=timeout_s, stdout=sys.stderr)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"the tests did not end within {timeout_s:.0f} s") from error


# -- each gate -------------------------------------------------------------------------------------------------------


def _unknown(name: str, unit: str, target: float) -> Row:
    return Row(name, math.nan, unit, target=target)


def _coverage(folder: Path | None) -> Row:
    name, file = "test coverage", None if folder is None else folder / COVERAGE_FILE
    if file is None or not file.exists():
        return _unknown(name, "%", 80.0)
    percent = float(msgspec.json.decode(file.read_bytes())["totals"]["percent_covered"])
    return Row(name, percent, "%", target=80.0, met=percent > 80.0)


def _integration(folder: Path | None) -> Row:
    """Every integration test counts, also one that was skipped: what did not run did not pass."""
    name, file = "integration tests that pass", None if folder is None else folder / TESTS_FILE
    cases = [] if file is None or not file.exists() else list(_integration_cases(file))
    if not cases:
        return _unknown(name, "%", 100.0)
    share = 100.0 * sum(cases) / len(cases)
    return Row(f"{name}, of {len(cases)}", share, "%", target=100.0, met=all(cases))


def _integration_cases(file: Path) -> Iterator[bool]:
    for case in ElementTree.parse(file).iter("testcase"):
        if "integration" in case.get("classname", "").split("."):
            yield not any(case.find(bad) is not None for bad in ("failure", "error", "skipped"))


def _latency(reports: list[Rows]) -> Row:
    return _worst("latency p50", "ms", 500.0, [_value(rows, LATENCY) for rows in reports], lambda ms: ms < 500.0)


def _quality(reports: list[Rows]) -> Iterator[Row]:
    """Yield one gate a data set: quality alone is no pass where few were asked or answered, or nobody says what is
    right."""
    for name, word in SETS.items():
        rows = next((rows for rows in reports if rows and word in rows[0]["name"].lower()), None)
        quality = None if rows is None else _row(rows, QUALITY)
        if rows is None or quality is None or quality["value"] is None:
            yield _unknown(f"mean quality, {name}", "fraction", 0.8)
            continue
        beside = {what: _value(rows, what) for what in (COVERAGE, F1, GOLD)}
        share, f1, asked = beside[COVERAGE] or 0.0, beside[F1], rows[0]["value"] or 0
        is_met = quality["value"] > 0.8 and asked >= QUESTIONS and share >= MIN_COVERAGE and f1 is not None
        reader = rows[0]["name"].rpartition("asked of ")[2]
        yield Row(
            f"mean quality, {name}, {asked:,} asked of {reader}, {quality['name'].removeprefix(f'{QUALITY}, ')}",
            quality["value"],
            "fraction",
            None if quality["interval"] is None else tuple(quality["interval"]),
            {what: value for what, value in beside.items() if value is not None},
            target=0.8,
            met=is_met,
        )


def _router(reports: list[Rows]) -> Row:
    found = [[row for row in rows if row["name"].startswith("router accuracy")] for rows in reports]
    values = [rows[0]["value"] for rows in found if rows]
    return _worst("router accuracy", "%", 90.0, values, lambda percent: percent > 90.0, largest=False)


def _memory(reports: list[Rows]) -> Row:
    least = {"nodes": NODES, "edges": EDGES}
    large = [rows for rows in reports if all((_value(rows, what) or 0) >= count for what, count in least.items())]
    values = [_value(rows, "resident", exactly=True) for rows in large]
    name = f"memory with {NODES:,} nodes and {EDGES:,} edges, without models"
    return _worst(name, "MiB", MEBIBYTES, values, lambda mebibytes: mebibytes < MEBIBYTES)


def _leaks(reports: list[Rows]) -> Row:
    """A soak is as long as it is: its row says of how many requests, and never stands for a day."""
    name = "leaks"
    for rows in reports:
        requests, growth = _value(rows, "requests", exactly=True), _row(rows, "growth in")
        if requests is None or requests < REQUESTS or growth is None or growth["value"] is None:
            continue
        is_met = all(row["met"] is not False for row in rows)
        interval = None if growth["interval"] is None else tuple(growth["interval"])
        what = f"{name}: {growth['name']}, over {requests:,.0f}"
        return Row(what, growth["value"], "MiB", interval, target=0.0, met=is_met)
    return _unknown(name, "MiB", 0.0)


def _forgetting(reports: list[Rows]) -> Row:
    name = f"forgetting in {REQUESTS:,} interactions, one-sided 95 % bound"
    long = [rows for rows in reports if (_value(rows, INTERACTIONS) or 0) >= REQUESTS]
    bounds = [row["value"] for rows in long for row in rows if row["name"].startswith("95 % sure of a change above")]
    lost = [None if bound is None else -100.0 * bound for bound in bounds]
    return _worst(name, "%", 5.0, lost, lambda percent: percent < 5.0)


def _row(rows: Rows, name: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["name"].startswith(name)), None)


def _value(rows: Rows, name: str, *, exactly: bool = False) -> float | None:
    found = (row["value"] for row in rows if (row["name"] == name if exactly else row["name"].startswith(name)))
    return next(found, None)


def _worst(
    name: str,
    unit: str,
    target: float,
    values: Sequence[float | None],
    passes: Callable[[float], bool],
    *,
    largest: bool = True,
) -> Row:
    """Return the gate of the worst of the values, the largest or the smallest."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return _unknown(name, unit, target)
    worst = max(known) if largest else min(known)
    return Row(name, worst, unit, target=target, met=passes(worst))
