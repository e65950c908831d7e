"""What the service has done so far, in numbers."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

_WINDOW = 1024


class Counters:
    """Counts since the start, and the latencies of the last 1024 requests; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._busy = 0.0
        self.requests = 0
        self.texts = 0
        self.tokens = 0
        self.runs = 0
        self.errors: Counter[str] = Counter()

    def ran(self, texts: int, tokens: int, seconds: float) -> None:
        """Count one run of the graph, and how long it took."""
        with self._lock:
            self.runs += 1
            self._busy += seconds
            self.texts += texts
            self.tokens += tokens

    def answered(self, seconds: float) -> None:
        """Count a request that got its vectors, so long after it was taken."""
        with self._lock:
            self.requests += 1
            self._seconds.append(seconds)

    def refused(self, code: str) -> None:
        """Count an error reply."""
        with self._lock:
            self.errors[code] += 1

    def seconds_a_text(self) -> float:
        """Return how long the model has taken for a text on average; 0 before the first."""
        with self._lock:
            return self._busy / self.texts if self.texts else 0.0

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, with the process's memory in bytes, as JSON values."""
        import psutil

        with self._lock:
            lately = sorted(self._seconds)
            return {
                "uptime_seconds": round(time.monotonic() - self._began, 3),
                "requests": self.requests,
                "texts": self.texts,
                "tokens": self.tokens,
                "runs": self.runs,
                "errors": dict(self.errors),
                "latency_ms": {
                    name: round(1e3 * lately[int(share * (len(lately) - 1))], 3) if lately else None
                    for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
                },
                "rss_bytes": psutil.Process().memory_info().rss,
            }
