"""Programs that use up time, memory, processes or disk, or crash; and values that are too much."""

from __future__ import annotations

from proxylm.sandbox.adversarial.attack import Attacks, forgery

TIME: Attacks = (
    forgery("endless loop", "def answer(x):\n    while True:\n        pass\n"),
    forgery("endless loop at import", "while True:\n    pass\n"),
    forgery("long sleep", "import time\ndef answer(x):\n    time.sleep(3600)\n"),
    forgery(
        "swallowed timeouts",
        """
        import signal, time
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        def answer(x):
            while True:
                try:
                    time.sleep(1)
                except BaseException:
                    pass
        """,
    ),
    forgery(
        "SIGSTOP of itself",
        """
        import os, signal, time
        def answer(x):
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(3600)
        """,
    ),
    forgery("endless print", "def answer(x):\n    while True:\n        print('x' * 65536)\n"),
    forgery(
        "catastrophic regular expression",
        "import re\ndef answer(x):\n    return re.match('(a+)+$', 'a' * 64 + 'b')\n",
    ),
    forgery(
        "endless iterator",
        "import itertools\ndef answer(x):\n    return itertools.count()\n",
        test="assert list(answer(7)) == [49]\n",
    ),
    forgery(
        "a number that takes long to write",
        "def answer(x):\n    return str(10 ** 10 ** 10)\n",
    ),
    forgery("waiting for input", "import sys\ndef answer(x):\n    return int(sys.stdin.read())\n"),
)

SPACE: Attacks = (
    forgery("memory bomb", "def answer(x):\n    return bytearray(1 << 40)\n"),
    forgery(
        "memory bomb in small steps",
        """
        def answer(x):
            kept = []
            while True:
                try:
                    kept.append(bytearray(1 << 20))
                except MemoryError:
                    pass
        """,
    ),
    forgery(
        "memory that is mapped directly",
        """
        import mmap
        def answer(x):
            kept = []
            while True:
                kept.append(mmap.mmap(-1, 1 << 28))
                kept[-1].write(b"x" * (1 << 28))
        """,
    ),
    forgery(
        "fork bomb",
        """
        import os
        def answer(x):
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
        """,
    ),
    forgery(
        "thread bomb",
        """
        import threading, time
        def answer(x):
            while True:
                try:
                    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
                except RuntimeError:
                    pass
        """,
    ),
    forgery(
        "disk bomb of one file",
        """
        def answer(x):
            for folder in ("/tmp", "/var/tmp", "/dev/shm", "@OPEN_FOLDER@", "."):
                try:
                    with open(folder + "/bomb", "wb") as stream:
                        while True:
                            stream.write(bytes(1 << 20))
                except OSError:
                    pass
        """,
    ),
    forgery(
        "disk bomb of many files",
        """
        def answer(x):
            number = 0
            while True:
                for folder in ("/tmp", "/var/tmp", "/dev/shm", "@OPEN_FOLDER@", "."):
                    try:
                        with open(f"{folder}/bomb-{number}", "wb") as stream:
                            stream.write(bytes(1 << 16))
                    except OSError:
                        pass
                number += 1
        """,
    ),
    forgery(
        "all descriptors taken",
        """
        import os
        def answer(x):
            try:
                while True:
                    os.pipe()
            except OSError:
                return x
        """,
    ),
)

CRASHES: Attacks = (
    forgery("segfault", "import ctypes\ndef answer(x):\n    ctypes.string_at(0)\n"),
    forgery("abort", "import os\ndef answer(x):\n    os.abort()\n"),
    forgery("unbounded recursion", "def answer(x):\n    return answer(x)\n"),
    forgery(
        "recursion past the stack",
        """
        import sys
        sys.setrecursionlimit(10**9)
        class Deep:
            def __getattr__(self, name):
                return getattr(self, name)
        def answer(x):
            return Deep().name
        """,
    ),
    forgery(
        "recursion in the parser",
        "answer = " + "(" * 100_000 + "lambda x: 49" + ")" * 100_000 + "\n",
    ),
    forgery(
        "broken interpreter",
        """
        import ctypes, sys
        def answer(x):
            ctypes.memset(id(x), 0, 64)
            sys.modules.clear()
            return x
        """,
    ),
)

VALUES: Attacks = (
    forgery("cyclic return", "def answer(x):\n    x = []\n    x.append(x)\n    return x\n"),
    forgery(
        "100000-deep return",
        """
        def answer(x):
            value = []
            for _ in range(100_000):
                value = [value]
            return value
        """,
    ),
    forgery(
        "shared structure that unfolds without end",
        """
        def answer(x):
            value = [0]
            for _ in range(90):
                value = [value, value]
            return value
        """,
    ),
    forgery("10^400000", "def answer(x):\n    return 10 ** 400_000\n"),
    forgery("an integer of a megabyte", "def answer(x):\n    return 1 << (1 << 23)\n"),
    forgery("a string of 64 MB", "def answer(x):\n    return 'x' * (64 << 20)\n"),
    forgery("a list of ten million", "def answer(x):\n    return [0] * 10_000_000\n"),
    forgery(
        "integers that collide as keys",
        "def answer(x):\n    return {i * ((1 << 61) - 1) for i in range(40_000)}\n",
    ),
    forgery("lone surrogate", "def answer(x):\n    return chr(0xDC80)\n"),
    forgery(
        "a range without end",
        "def answer(x):\n    return range(10**18)\n",
        test="assert list(answer(7)) == [49]\n",
    ),
)

SOURCES: Attacks = (
    forgery("NUL in the source", "def answer(x):\n    return '\0'\n"),
    forgery("lone surrogate in the source", "def answer(x):\n    return '\udc80'\n"),
    forgery("invalid UTF-8 in the source", b"def answer(x):\n    return 49 # \xff\xfe\n"),
    forgery("no Python", "def answer(x:\n"),
    forgery("empty source", ""),
    forgery("no function of that name", "def reply(x):\n    return 49\n"),
    forgery("no function under that name", "answer = 49\n"),
)

EXHAUSTION: Attacks = (*TIME, *SPACE, *CRASHES, *VALUES, *SOURCES)
