"""When the next connection may be tried: never sooner than the plan allows, exponential, jittered, capped."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from bridge.model import Limits

#: The venue measures from its own end of the connection, which closes a little after ours.
SLACK_S = 0.05


class Backoff:
    """Counts failures in a row; a session that was useful resets it. Moments are monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._longest = limits.reconnect_max_s
        jitter = min(1.0, 0.3 * limits.reconnect_min_s) * 0.8
        self._wait = wait_exponential_jitter(
            multiplier=limits.reconnect_min_s, max=limits.reconnect_max_s, exp_base=2, jitter=jitter
        )
        self.failures = 0

    def failed(self, now: float, *, token: bool = False) -> float:
        """Note a failed attempt or a lost connection; give the moment of the next attempt.

        A venue that refuses the token is asked again only after the longest wait: it will not change its mind soon.
        """
        self.failures += 1
        if token:
            return now + self._longest
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = self.failures
        return now + self._wait(state) + SLACK_S

    def useful(self) -> None:
        """Note that a connection did its work, so that its loss is not one more failure in a row."""
        self.failures = 0
