from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import proxylm.compressors.neural.settings, proxylm.demo.settings
sys.exit(str({"torch", "numba"} & set(sys.modules) or ""))
"""


def test_settings_are_read_without_torch_and_numba():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert result.stderr.strip() == ""
