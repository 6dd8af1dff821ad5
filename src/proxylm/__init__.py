"""proxylm: one language model, trained on raw bytes and compressed views, used on raw bytes alone.

The two entry points are imported on first use, so that ``import proxylm`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxylm.compressors.registry import load_compressor as load_compressor
    from proxylm.generation.loading import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_compressor"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from proxylm.generation.loading import load

        return load
    if name == "load_compressor":
        from proxylm.compressors.registry import load_compressor

        return load_compressor
    raise AttributeError(f"module 'proxylm' has no attribute {name!r}")
