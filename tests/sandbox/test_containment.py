"""Runs end, whoever ends first; and where nothing can hold a program, none is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from proxylm.sandbox import SandboxError, check, detection, isolation
from proxylm.sandbox.adversarial.witnesses import descendants, witnesses
from proxylm.sandbox.confined_worker import ConfinedWorker
from proxylm.sandbox.isolation import FIRST_FRESH_UID
from proxylm.sandbox.landlock_seccomp import parts_without
from proxylm.sandbox.tiers import TIERS


def new_processes(around):
    known = (around.victim.pid, *around.relatives)
    return [each.pid for each in descendants() if each.pid not in known]


def wait_until(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():  # once is enough: processes come and go
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_ends_with_its_caller(tier, by):
    script = (
        "from proxylm.sandbox import check\n"
        "check('import time\\ndef f():\\n    time.sleep(600)', 'f()', 'f', 600.0,"
        f" tier={tier!r})\n"
    )
    with witnesses() as around:
        caller = subprocess.Popen([sys.executable, "-c", script])
        # The caller, its judging process, the child that judges, the sandbox.
        assert wait_until(lambda: len(new_processes(around)) >= 4)
        time.sleep(0.5)
        caller.send_signal(by)
        caller.wait()

        def gone():
            reap_orphans()
            return not new_processes(around)

        assert wait_until(gone), new_processes(around)


def reap_orphans():
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def test_each_run_has_a_uid_of_its_own_and_no_capability(judged):
    if os.geteuid() != 0:
        pytest.skip("the uid can only be changed by root")
    program = """
import ctypes, os
def f():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).syscall(125, header, sets)
    return [*os.getresuid(), *os.getresgid(), len(os.getgroups()), *sets]
"""
    test = "raise ValueError(f())"
    reasons = {judged(program, test).reason for _ in range(2)}
    assert len(reasons) == 2, "the same uid twice"
    for reason in reasons:
        numbers = [int(word) for word in reason.split("[")[1].split("]")[0].split(",")]
        assert len(set(numbers[:6])) == 1
        assert numbers[0] >= FIRST_FRESH_UID
        assert set(numbers[6:]) == {0}


def test_the_environment_inside_is_empty(judged):
    program = "import os\ndef f():\n    return dict(os.environ)\n"
    test = "assert set(f()) <= {'PYTHONHASHSEED', 'PYTHONUTF8', 'PWD', 'LC_CTYPE'}, f()"
    assert judged(program, test).passed


def test_there_is_nothing_to_write_to(judged):
    program = """
import os
def f():
    found = []
    for folder in ("/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", "/lib", os.getcwd()):
        try:
            os.close(os.open(f"{folder}/written", os.O_CREAT | os.O_WRONLY))
            found.append(folder)
        except OSError:
            continue
    return found
"""
    assert judged(program, "found = f()\nassert found == [], found").passed


def test_what_runs_has_neither_the_test_nor_its_path(judged):
    program = """
import gc, sys
def f():
    return [str(sys.argv), str(sys.orig_argv), *(x for x in gc.get_objects() if type(x) is str)]
"""
    assert judged(program, "marker = 'a-' + 'mark'\nassert 'a-mark' not in str(f())").passed


def test_no_tier_no_run(monkeypatch):
    states = {
        name: detection.TierState(name=name, lacking="is not there", needs=TIERS[name].needs)
        for name in TIERS
    }
    monkeypatch.setattr(detection, "tier_state", states.__getitem__)
    with pytest.raises(SandboxError) as refusal:
        check("def f(): pass", "f()", "f", 1.0)
    message = str(refusal.value)
    assert "not run without a sandbox" in message
    assert "apt-get install bubblewrap" in message
    assert "\n" not in message


def test_a_missing_program_is_the_reason(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert TIERS["bubblewrap"]().lacking() == "the program bwrap is not installed"


def test_a_worker_that_cannot_confine_itself_is_not_used(tier):
    isolation = TIERS[tier]()
    isolation.prepare()
    settings = isolation.settings(1.0)
    isolation.settings = lambda timeout_s: {**settings, "landlock": 987}
    with pytest.raises(SandboxError, match=f"{tier}: OSError.*Landlock"):
        ConfinedWorker(isolation, 1.0)
    isolation.command = lambda descriptors: ["/bin/sh", "-c", "echo broken >&2; exit 3"]
    with pytest.raises(SandboxError, match=f"{tier}: no worker .broken"):
        ConfinedWorker(isolation, 1.0)


def test_hidden_folders_are_left_out_at_any_depth(tmp_path):
    for name in ("a/b/hidden/x", "a/b/seen", "a/seen", "seen"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("")
    parts = parts_without(tmp_path, [tmp_path / "a/b/hidden"])
    assert {str(part.relative_to(tmp_path)) for part in parts} == {
        "a/b/seen",
        "a/file",
        "a/seen",
        "seen",
    }
    assert parts_without(tmp_path / "seen", [tmp_path / "a"]) == [tmp_path / "seen"]


def test_fresh_uids_come_from_those_that_there_are(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    pids = (1, 77, 4_194_303)
    for last_mapped, lowest in ((0xFFFF_FFFE, FIRST_FRESH_UID), (65_535, 32_768)):
        monkeypatch.setattr(isolation, "_last_mapped_uid", lambda last=last_mapped: last)
        for pid in pids:
            monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
            assert lowest <= isolation.fresh_uid() <= last_mapped
    monkeypatch.setattr(isolation, "_last_mapped_uid", lambda: 0)  # a namespace with root alone
    assert isolation.fresh_uid() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert isolation.fresh_uid() is None
