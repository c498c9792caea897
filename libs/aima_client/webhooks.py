"""Checking what an AIMA delivers to a webhook: that it said it, just now, and for the first time.

verifier = WebhookVerifier(secret)
...
delivered = verifier.verify(request.headers, await request.read())
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

TOLERANCE_SECONDS = 300.0
"""How old a delivery may be, and how far two clocks may differ."""

REMEMBERED = 100_000
"""Deliveries within the tolerance that are recognised when they come once more."""

PREFIX = "whsec_"


class WebhookError(Exception):
    """A delivery that is not to be believed.

    `code` is stable: malformed, wrong_signature, too_old, too_new or replayed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class WebhookVerifier:
    """Verifies deliveries of one webhook, signed as https://www.standardwebhooks.com has it.

    A delivery whose answer was lost comes once more under the same id, with a new time and signature: `replayed` then
    says that it was accepted before, and the right answer is still a status below 300. Several processes that
    receive for one webhook must remember ids together, for instance by a unique key of their store.
    """

    def __init__(
        self,
        secret: str,
        *,
        tolerance_seconds: float = TOLERANCE_SECONDS,
        remembered: int = REMEMBERED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            self._key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError("this is no secret of a webhook: it is not Base64") from error
        self._tolerance = tolerance_seconds
        self._remembered = remembered
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def verify(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Return what was delivered; raise `WebhookError` for what is not to be believed."""
        given = {name.lower(): value for name, value in headers.items()}
        identity, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
        signatures = given.get("webhook-signature", "")
        if not (identity and signatures and stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
            raise WebhookError(
                "malformed", "webhook-id, webhook-timestamp or webhook-signature is missing or malformed"
            )
        self._check_signature(f"{identity}.{stamp}.".encode() + body, signatures)
        now = self._clock()
        self._check_time(now - int(stamp))
        self._check_first(identity, now)
        try:
            delivered = json.loads(body)
        except ValueError as error:
            raise WebhookError("malformed", f"the body is no JSON: {error}") from error
        return dict(delivered)

    def forget(self, headers: Mapping[str, str]) -> None:
        """Take a delivery back that was verified and could then not be worked on: it may come once more."""
        given = {name.lower(): value for name, value in headers.items()}
        self._seen.pop(given.get("webhook-id", ""), None)

    def _check_signature(self, signed: bytes, signatures: str) -> None:
        expected = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest())
        shown = [one.partition(",") for one in signatures.split()]
        # All are compared, and each in constant time: how long it takes tells nobody anything.
        matches = [
            version == "v1" and hmac.compare_digest(expected, value.encode("ascii", "replace"))
            for version, _, value in shown
        ]
        if not any(matches):
            raise WebhookError("wrong_signature", "the signature is not that of this body, id, time and secret")

    def _check_time(self, age: float) -> None:
        if age > self._tolerance:
            raise WebhookError("too_old", f"it was sent {age:.0f} s ago, and {self._tolerance:.0f} s are allowed")
        if age < -self._tolerance:
            raise WebhookError("too_new", f"it is to be sent in {-age:.0f} s: one of the clocks is wrong")

    def _check_first(self, identity: str, now: float) -> None:
        # Ids are kept for twice the tolerance: a delivery cannot be within its time any more by then.
        while self._seen and (
            len(self._seen) > self._remembered or now - next(iter(self._seen.values())) > 2 * self._tolerance
        ):
            self._seen.popitem(last=False)
        if identity in self._seen:
            raise WebhookError("replayed", f"delivery {identity} was accepted before")
        self._seen[identity] = now
