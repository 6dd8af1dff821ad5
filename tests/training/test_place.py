"""Where a run computes: what has no room there is refused before it is made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from proxylm.errors import UsageError
from proxylm.models.presets import preset
from proxylm.training.device import Place

GIGABYTE = 10**9


@pytest.mark.parametrize(("on_gpu", "fits"), [(141 * GIGABYTE, True), (80 * GIGABYTE, False)])
def test_a_gpu_holds_weights_gradients_and_moments(
    on_gpu: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 64 * GIGABYTE}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    properties = SimpleNamespace(total_memory=on_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    model = preset("evabyte-7b")  # 6.2 billion parameters: 25 GB of weights, four times on the GPU
    place = Place.of(torch.device("cuda"), "auto")
    if fits:
        place.require_memory(model)
        return
    with pytest.raises(UsageError) as caught:
        place.require_memory(model)
    needed = 16 * model.parameter_count / GIGABYTE
    assert f"need at least {needed:.1f} GB of memory to train on cuda" in str(caught.value)
    assert "the GPU has 80.0 GB" in str(caught.value)


def test_main_memory_has_to_hold_the_weights_for_a_gpu_and_everything_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 20 * GIGABYTE}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    properties = SimpleNamespace(total_memory=141 * GIGABYTE)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    place = Place.of(torch.device("cuda"), "auto")
    place.require_memory(preset("evabyte-1.5b"))
    with pytest.raises(UsageError, match=r"on cuda, and this machine has 20.0 GB"):
        place.require_memory(preset("evabyte-7b"))
    with pytest.raises(UsageError, match=r"on cpu, and this machine has 20.0 GB"):
        Place.of(torch.device("cpu"), "auto").require_memory(preset("evabyte-1.5b"))
