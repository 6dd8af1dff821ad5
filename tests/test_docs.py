"""The example of docs/architecture.md: another package's compressor, as it stands there."""

from __future__ import annotations

import shutil

from documents import ROOT, blocks, run_shell

SECTION = "A new compressor in 30 lines"


def test_the_compressor_example_works_word_for_word(tmp_path):
    (module,) = blocks("docs/architecture.md", "python", section=SECTION)
    assert len([line for line in module.splitlines() if line.strip()]) <= 30
    (registration,) = blocks("docs/architecture.md", "toml", section=SECTION)
    (commands,) = blocks("docs/architecture.md", "sh", section=SECTION)

    # What installing that package would put on the path: the module and its entry points.
    package = tmp_path / "package"
    metadata = package / "proxylm_bzip2-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / "proxylm_bzip2.py").write_text(module)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: proxylm-bzip2\nVersion: 1.0\n")
    entry = registration.replace('project.entry-points."', "").replace('"]', "]").replace('"', "")
    (metadata / "entry_points.txt").write_text(entry)

    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "src" / "proxylm" / "compressors", tmp_path / "src")
    output = run_shell(commands, tmp_path, PYTHONPATH=str(package))
    assert (tmp_path / "views" / "bzip2" / "bzip2-00000.arrow").exists()
    symbols = [int(line) for line in output.splitlines() if line.strip().isdigit()]
    assert bytes(symbols[:3]) == b"BZh"
