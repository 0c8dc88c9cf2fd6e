"""The certificate of one brain: issued on calibration rows, kept on disk, ended when what it is about changes."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruvllm.router.certificate import Certificate
from ruvllm.whole_file import replacing

__all__ = ["Issued", "PromiseFile"]

logger = logging.getLogger(__name__)


DAMAGED_ATTEMPTS = 20  # calibrations that a file which cannot be read counts as: more than there were, most likely


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with what the brain held when it was issued, `at` seconds since the epoch.

    Attributes:
        nodes: that there were to answer from. newest_node: largest id that any node had.
        known, good: how many qualities the router knew, and their sum.
    """

    certificate: Certificate
    at: float
    nodes: int
    newest_node: int
    known: float
    good: float


class PromiseFile:
    """Keeps the certificate in force, and how many were tried: every one spends of the same confidence.

    Args:
        path: of the file, written as a whole; one that is damaged promises nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[Issued | None, int]:
        """Return the certificate in force, None without one, and how many calibrations there were."""
        try:
            fields: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            attempts, issued = int(fields["attempts"]), fields["issued"]
            if issued is None:
                return None, attempts
            certificate = Certificate.from_dict(issued["certificate"])
            then = {name: float(issued[name]) for name in ("at", "known", "good")}
            newest_node = issued.get("newest_node", 0)  # files of before have none: it ends, as all nodes are new then
            return Issued(certificate, nodes=issued["nodes"], newest_node=newest_node, **then), attempts
        except FileNotFoundError:
            return None, 0
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            logger.warning("%s is damaged, nothing is promised: %s", self._path, error)
            return None, DAMAGED_ATTEMPTS

    def save(self, issued: Issued | None, attempts: int) -> None:
        """Replace what is kept; durable on return."""
        kept = None if issued is None else asdict(issued) | {"certificate": issued.certificate.to_dict()}
        with replacing(self._path) as stream:
            stream.write(json.dumps({"attempts": attempts, "issued": kept}).encode())
