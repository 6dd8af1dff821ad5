"""The isolation tiers by name, the preferred one first."""

from __future__ import annotations

from collections.abc import Mapping

from proxylm.sandbox.bubblewrap import Bubblewrap
from proxylm.sandbox.isolation import Isolation
from proxylm.sandbox.landlock_seccomp import LandlockSeccomp

TIERS: Mapping[str, type[Isolation]] = {tier.name: tier for tier in (Bubblewrap, LandlockSeccomp)}
