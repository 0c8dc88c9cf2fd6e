"""Rate limits: for each key a bucket of requests, of tokens and of write-backs, which fills again as time goes by."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ruvllm.config import LimitsConfig
from ruvllm.errors import RateLimited

__all__ = ["MAX_KEYS", "Limits"]

MAX_KEYS = 10_000  # whose buckets are remembered: a few megabytes
LOOKED_AT = 8  # least recently used keys that are looked at for one that can be forgotten


@dataclass(slots=True)
class _Account:
    """What one key has left of each limit, as of `at` (seconds of the clock); below 0 it is a debt."""

    left: dict[str, float]
    at: float


class Limits:
    """Says who may ask and who is remembered. Safe to share between threads.

    A key whose buckets are full is like one never seen, and is forgotten first. While none is, which takes a flood of
    `MAX_KEYS` keys within a minute, all keys that are new share one account: nobody gains by changing keys.

    Args:
        clock: seconds that only ever grow.
    """

    def __init__(self, config: LimitsConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        minute = {
            "requests": config.requests_per_minute,
            "tokens": config.tokens_per_minute,
            "writebacks": config.writebacks_per_minute,
        }
        self._per_s = {limit: count / 60.0 for limit, count in minute.items() if count}
        self._most = {limit: max(count, 1.0) for limit, count in minute.items() if count}
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()  # least recently used first
        self._crowd = self._full()

    def admit(self, key: str) -> None:
        """Count one request of `key`.

        Raises:
            RateLimited: its requests or tokens are used up.
        """
        if not self._per_s:
            return
        with self._lock:
            left = self._account(key).left
            for limit in ("requests", "tokens"):
                if left.get(limit, 1.0) < 1.0:
                    raise RateLimited(limit, (1.0 - left[limit]) / self._per_s[limit])
            if "requests" in left:
                left["requests"] -= 1.0

    def charge(self, key: str, tokens: int) -> None:
        """Count tokens that a request of `key` took, however many are left."""
        if "tokens" in self._per_s and tokens:
            with self._lock:
                self._account(key).left["tokens"] -= tokens

    def may_write(self, key: str) -> bool:
        """Return whether one more answer to `key` may be remembered, and count it."""
        if "writebacks" not in self._per_s:
            return True
        with self._lock:
            left = self._account(key).left
            if left["writebacks"] < 1.0:
                return False
            left["writebacks"] -= 1.0
            return True

    def _account(self, key: str) -> _Account:
        """Return the key's account as it is now. The lock is held."""
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= MAX_KEYS and not self._forget_one():
                return self._refilled(self._crowd)
            account = self._accounts[key] = self._full()
        self._accounts.move_to_end(key)
        return self._refilled(account)

    def _forget_one(self) -> bool:
        """Make room for a key, where one of the least recently used ones is full again; return whether it was."""
        for _ in range(LOOKED_AT):
            key = next(iter(self._accounts))
            if self._refilled(self._accounts[key]).left == self._most:
                del self._accounts[key]
                return True
            self._accounts.move_to_end(key)
        return False

    def _full(self) -> _Account:
        return _Account(dict(self._most), self._clock())

    def _refilled(self, account: _Account) -> _Account:
        now = self._clock()
        elapsed, account.at = max(now - account.at, 0.0), now
        for limit, per_s in self._per_s.items():
            account.left[limit] = min(account.left[limit] + per_s * elapsed, self._most[limit])
        return account
