"""Whose turn it is inside a class: weighted dominant resource fairness, with a memory that fades.

The tenant goes first whose dominant share, the largest of its shares of cores, memory and GPUs, is smallest for its
weight (Ghodsi et al., NSDI'11). What it has had lately counts too, half of it after each half-life.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.model import Shape


@dataclass(frozen=True, slots=True)
class Amounts:
    """Cores and GPUs in thousandths, memory in MiB."""

    cpu_milli: int = 0
    memory_mib: int = 0
    gpu_milli: int = 0

    @classmethod
    def of(cls, shape: Shape) -> "Amounts":
        """Tell what all members of a job take together."""
        gpus = shape.gpu_count * shape.gpu_milli
        return cls(shape.members * shape.cpu_milli, shape.members * shape.memory_mib, shape.members * gpus)

    def plus(self, other: "Amounts", sign: int = 1) -> "Amounts":
        """Add up, or take away."""
        return Amounts(
            self.cpu_milli + sign * other.cpu_milli,
            self.memory_mib + sign * other.memory_mib,
            self.gpu_milli + sign * other.gpu_milli,
        )

    def share_of(self, whole: "Amounts") -> float:
        """Tell the dominant share: 0 for nothing, 1 for all there is of something."""
        return dominant(self.cpu_milli, self.memory_mib, self.gpu_milli, whole)


def dominant(cpu_milli: int, memory_mib: int, gpu_milli: int, whole: Amounts) -> float:
    """Tell the largest share of anything: 0 for nothing, 1 for all there is of something."""
    return max(
        cpu_milli / (whole.cpu_milli or 1), memory_mib / (whole.memory_mib or 1), gpu_milli / (whole.gpu_milli or 1)
    )


@dataclass(slots=True)
class _Account:
    """What a tenant has of a class; changed in place, as it changes with every job that starts."""

    weight: float
    at: float
    """When the past was told last."""
    cpu_milli: int = 0
    memory_mib: int = 0
    gpu_milli: int = 0
    past: float = 0.0
    """Share that it had lately, faded, as if it had it now."""
    share: float = 0.0
    """The dominant share of what runs, of `whole`."""
    whole: Amounts | None = None


class Usage:
    """What each tenant has of each class, and had lately."""

    def __init__(self, weights: Mapping[str, float] | None = None, half_life: float = 3600.0) -> None:
        if half_life < 0 or any(weight <= 0 for weight in (weights or {}).values()):
            raise ValueError("weights are more than nothing, and a half-life is no negative time")
        self._weights = dict(weights or {})
        self._half_life = half_life
        self._accounts: dict[tuple[Priority, str], _Account] = {}
        self.whole = Amounts()
        """All that there is."""

    def take(self, priority: Priority, tenant: str, shape: Shape, now: float, sign: int = 1) -> None:
        """Count a job in; with -1 out again, of which it is not forgotten at once that it ran."""
        account = self._accounts.get((priority, tenant))
        if account is None:
            account = self._accounts[priority, tenant] = _Account(self._weights.get(tenant, 1.0), now)
        if now > account.at:
            account.past, account.at = self._faded(account, now), now
        count = sign * shape.members
        account.cpu_milli += count * shape.cpu_milli
        account.memory_mib += count * shape.memory_mib
        account.gpu_milli += count * shape.gpu_count * shape.gpu_milli
        self._weigh(account)

    def release(self, priority: Priority, tenant: str, shape: Shape, now: float) -> None:
        """Count a job out again."""
        self.take(priority, tenant, shape, now, -1)

    def share(self, priority: Priority, tenant: str, now: float) -> float:
        """Tell a tenant's share for its weight: the smaller goes first."""
        account = self._accounts.get((priority, tenant))
        if account is None:
            return 0.0
        if now <= account.at and account.whole is self.whole:  # as for most of a pass: it is known to the moment
            return (account.share + account.past) / account.weight
        return (self._running(account) + self._faded(account, now)) / account.weight

    def _running(self, account: _Account) -> float:
        """Tell the dominant share of what runs; computed anew where all that there is has changed."""
        if account.whole is not self.whole:
            self._weigh(account)
        return account.share

    def _weigh(self, account: _Account) -> None:
        account.share = dominant(account.cpu_milli, account.memory_mib, account.gpu_milli, self.whole)
        account.whole = self.whole

    def _faded(self, account: _Account, now: float) -> float:
        """Tell what is left of the past, with the time since it was told last: at most what ran, in the long run."""
        if now <= account.at or not self._half_life:
            return account.past  # the same moment: nothing has faded
        left = math.exp2((account.at - now) / self._half_life)
        return account.past * left + self._running(account) * (1 - left)
