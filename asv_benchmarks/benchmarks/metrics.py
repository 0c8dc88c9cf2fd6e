"""What counting one answered request costs, and what looking at all that was counted does."""

from __future__ import annotations

from ruvllm.metrics import Metrics
from ruvllm.types import Response, Route

STAGES = {"load": 0.1, "embed": 3.0, "retrieve": 2.0, "route": 0.5, "prompt": 1.0, "generate": 300.0, "judge": 1.0}


class MetricsOfARequest:
    """Seven stages, first token, tokens, confidence and a warning: fourteen observations."""

    def setup(self) -> None:
        timings = STAGES | {"first_token": 40.0, "total": 310.0}
        self.response = Response(
            "id", "question", "answer", (), Route("reader", 2048, 0.0, 1.0, tier="small"), 0.9, "stop",
            prompt_tokens=600, completion_tokens=64, timings_ms=timings, warnings=("retrieve: no index",),
        )  # fmt: skip
        self.metrics = Metrics()
        self.metrics.answered(self.response, 0.31)
        self.metrics.text()

    def time_answered(self) -> None:
        self.metrics.answered(self.response, 0.31)

    def time_text(self) -> None:
        self.metrics.text()
