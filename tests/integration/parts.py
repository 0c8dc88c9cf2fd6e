"""What tests over a tiny encoder share: what a brain knows, and the form of its configuration."""

from __future__ import annotations

from collections.abc import Callable

from inference.endpoint import Endpoint

from ruvllm.config import Config

TEXTS = ["The supply ship arrives every six weeks.", "Bread is baked on Fridays.", "Terns nest on the high cliffs."]
QUESTION = "When does the supply ship arrive?"
Serve = Callable[[str], Endpoint]
Configure = Callable[..., Config]
