"""One folder for the modelling code that transformers copies out of exported models."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest


@pytest.fixture(autouse=True, scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Modelling code is copied into a folder of the tests', not into the user's cache.

    One folder for the whole process: ``transformers_modules``, once imported, is looked for where
    it was first found, so that code in a second folder would not be found.
    """
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("transformers"):
            cache = str(tmp_path_factory.mktemp("modules"))
            patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", cache)
        yield
