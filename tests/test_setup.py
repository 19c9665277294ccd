"""scripts/setup.sh, on machines where something is missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

SETUP = Path(__file__).parents[1] / "scripts" / "setup.sh"


def test_a_full_disk_is_named_with_what_is_needed_and_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SETUP, tmp_path / "scripts")
    pip = tmp_path / ".venv" / "bin" / "python"
    pip.parent.mkdir(parents=True)
    pip.write_text("#!/bin/sh\necho 'ERROR: [Errno 28] No space left on device' >&2\nexit 1\n")
    pip.chmod(0o755)
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()

    run = subprocess.run(
        ["bash", str(tmp_path / "scripts" / "setup.sh")],
        env={**os.environ, "TMPDIR": str(elsewhere)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 1
    assert "No space left on device" in run.stderr
    assert re.search(r"\.venv needs 7 GB; its disk has \d\S* free", run.stderr)
    assert re.search(rf"pip needs 3 GB besides; {elsewhere} has \d\S* free", run.stderr)
    assert not (tmp_path / ".venv" / "ready").exists()
