"""What must be true of the stores at any time, and what must be true once all work has come to rest.

Pure: a snapshot goes in, violations come out. The auditor runs it beside the work, the crash harness
after every fault, the simulation after every seed; there is one checker (notes: reliability, 2.1).
Numbers I1 to I18 are that note's; the rules lie in files by theme.
"""

from aima_monitoring.belongings import check_belongings
from aima_monitoring.completeness import check_completeness
from aima_monitoring.evidence import Footprint, Sent, Snapshot, StoredObject, Violation
from aima_monitoring.transitions import check_transitions

__all__ = ["Footprint", "Sent", "Snapshot", "StoredObject", "Violation", "check"]


def check(snapshot: Snapshot) -> list[Violation]:
    """List what is wrong; nothing, in a system that keeps its promises."""
    return [*check_completeness(snapshot), *check_transitions(snapshot), *check_belongings(snapshot)]
