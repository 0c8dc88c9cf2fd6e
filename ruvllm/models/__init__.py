"""Models as files on disk: the catalogue, pulling, converting, checking. No engine is needed here."""

from __future__ import annotations

from ruvllm.models.cache import InstalledModel, find, installed, remove
from ruvllm.models.card import FileRecord, ModelCard, read_card, verify
from ruvllm.models.catalogue import CatalogueEntry, HubOrigin, PackageOrigin, catalogue
from ruvllm.models.pull import PullProgress, pull

__all__ = [
    "CatalogueEntry",
    "FileRecord",
    "HubOrigin",
    "InstalledModel",
    "ModelCard",
    "PackageOrigin",
    "PullProgress",
    "catalogue",
    "find",
    "installed",
    "pull",
    "read_card",
    "remove",
    "verify",
]
