"""Log records as JSON lines, each with the request it belongs to; for a program's own handlers, none is added here.

handler = logging.StreamHandler()
handler.setFormatter(ruvllm.logs.JsonFormatter())
logging.getLogger("ruvllm").addHandler(handler)
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

__all__ = ["JsonFormatter", "RequestFilter", "request_id"]

request_id: ContextVar[str | None] = ContextVar("ruvllm_request_id", default=None)
"""The id of the request that runs here, which is its response's; None outside of requests."""

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "request"}


class RequestFilter(logging.Filter):
    """Gives every record that passes a field `request`: the id of the request that runs, or None.

    Handlers that hand records to another thread (`QueueHandler`) want it; for a format string, `%(request)s`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field; every record passes."""
        record.request = request_id.get()
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, request, error, and what `extra` gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what JSON does not know is written as `str` has it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request := getattr(record, "request", None) or request_id.get()) is not None:
            line["request"] = request
        line |= {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False, default=str)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair, as JSON writes it
