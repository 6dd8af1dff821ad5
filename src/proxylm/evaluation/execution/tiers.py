"""The isolation tiers by name, the preferred one first."""

from __future__ import annotations

from collections.abc import Mapping

from proxylm.evaluation.execution.bubblewrap import Bubblewrap
from proxylm.evaluation.execution.isolation import Isolation
from proxylm.evaluation.execution.landlock_seccomp import LandlockSeccomp

TIERS: Mapping[str, type[Isolation]] = {tier.name: tier for tier in (Bubblewrap, LandlockSeccomp)}
