"""Programs that want to pass with a wrong answer."""

from __future__ import annotations

from textwrap import dedent

from proxylm.sandbox.adversarial.attack import (
    ENTRY_POINT,
    Attack,
    Attacks,
    forgery,
)
from proxylm.sandbox.source_names import with_helpers

ENDS: Attacks = (
    forgery("sys.exit(0) at import", "import sys\nsys.exit(0)\n"),
    forgery("sys.exit(0) in the call", "import sys\ndef answer(x):\n    sys.exit(0)\n"),
    forgery("os._exit(0) at import", "import os\nos._exit(0)\n"),
    forgery("os._exit(0) in the call", "import os\ndef answer(x):\n    os._exit(0)\n"),
    forgery(
        "os._exit(0) from a thread",
        """
        import os, threading, time
        threading.Thread(target=lambda: (time.sleep(0.05), os._exit(0)), daemon=True).start()
        def answer(x):
            time.sleep(10)
        """,
    ),
    forgery(
        "exit handler that ends well",
        """
        import atexit, os
        atexit.register(os._exit, 0)
        def answer(x):
            raise SystemExit(0)
        """,
    ),
    forgery(
        "destructor that ends well",
        """
        import os
        class Ends:
            def __del__(self):
                os._exit(0)
        def answer(x):
            Ends()
        """,
    ),
    forgery("KeyboardInterrupt", "def answer(x):\n    raise KeyboardInterrupt\n"),
    forgery("GeneratorExit", "def answer(x):\n    raise GeneratorExit\n"),
    forgery("StopIteration", "def answer(x):\n    raise StopIteration\n"),
    forgery(
        "StopIteration that ends the test's loop",
        "def answer(x):\n    raise StopIteration\n",
        test="assert all(value == 49 for value in map(answer, [7, -7]))\n",
    ),
    forgery(
        "its own StopIteration that ends the test's loop",
        "class Mine(StopIteration):\n    pass\ndef answer(x):\n    raise Mine(49)\n",
        test="assert all(map(answer, [7, -7]))\n",
    ),
    forgery(
        "exception that lies about its class",
        """
        class Lie(BaseException):
            __module__ = "builtins"
            __name__ = "StopIteration"
            def __str__(self):
                return answer(self)
        Lie.__name__ = "SystemExit"
        def answer(x):
            raise Lie()
        """,
    ),
)

LIES: Attacks = (
    forgery(
        "int subclass that equals everything",
        """
        class Always(int):
            __eq__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __hash__ = int.__hash__
        def answer(x):
            return Always(3)
        """,
    ),
    forgery(
        "str subclass that equals everything",
        """
        class Always(str):
            __eq__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __hash__ = str.__hash__
        def answer(x):
            return Always("no")
        """,
    ),
    forgery(
        "fraction that equals everything",
        """
        from fractions import Fraction
        class Always(Fraction):
            __eq__ = lambda self, other: True
        def answer(x):
            return Always(1, 2)
        """,
    ),
    forgery(
        "deque that equals everything",
        """
        from collections import deque
        class Always(deque):
            __eq__ = lambda self, other: True
        def answer(x):
            return Always([1])
        """,
        test="from collections import deque\nassert answer(7) == deque([49])\n",
    ),
    forgery(
        "object that equals everything",
        """
        class Always:
            __eq__ = __le__ = __ge__ = __bool__ = lambda self, *other: True
        def answer(x):
            return Always()
        """,
    ),
    forgery(
        "object that equals everything, in a list",
        """
        class Always:
            __eq__ = lambda self, other: True
        def answer(x):
            return [Always()]
        """,
        test="assert answer(7) == [49]\n",
    ),
    forgery(
        "object that equals everything, in a dict in a tuple",
        """
        class Always(float):
            __eq__ = lambda self, other: True
            __hash__ = float.__hash__
        def answer(x):
            return ({"x": Always(1)}, {Always(2)})
        """,
        test="assert answer(7) == ({'x': 49}, {49})\n",
    ),
    forgery(
        "object that is always true",
        """
        class Always:
            __bool__ = lambda self: True
            __len__ = lambda self: 49
        def answer(x):
            return Always()
        """,
        test="assert answer(7)\nassert not answer(8)\n",
    ),
    forgery(
        "object that is never unequal",
        """
        class Never:
            __ne__ = lambda self, other: False
        def answer(x):
            return Never()
        """,
        test="if answer(7) != 49:\n    raise AssertionError\n",
    ),
    forgery(
        "object whose difference is always small",
        """
        class Small:
            __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0
            __lt__ = __le__ = lambda self, other: True
        def answer(x):
            return Small()
        """,
        test="assert abs(answer(7) - 49) < 1e-6\n",
    ),
    forgery(
        "spoofed __class__",
        """
        class Spoofed:
            __class__ = property(lambda self: int)
            __eq__ = lambda self, other: True
        def answer(x):
            return Spoofed()
        """,
        test="result = answer(7)\nassert isinstance(result, int) and result == 49\n",
    ),
    forgery(
        "metaclass that claims every instance",
        """
        class Meta(type):
            __instancecheck__ = __subclasscheck__ = __eq__ = lambda *all: True
            __hash__ = type.__hash__
            mro = lambda cls: [cls, object]
        class Claims(metaclass=Meta):
            pass
        def answer(x):
            return Claims
        """,
    ),
    forgery(
        "iterator that yields what is asked",
        """
        class Any:
            __eq__ = lambda self, other: True
        def answer(x):
            while True:
                yield Any()
        """,
        test="from itertools import islice\nassert list(islice(answer(7), 2)) == [49, 50]\n",
    ),
)

TAMPERING: Attacks = (
    forgery(
        "shadowed built-ins",
        """
        import builtins
        class Quiet(Exception):
            pass
        builtins.AssertionError = Quiet
        builtins.isinstance = builtins.issubclass = lambda *all: True
        builtins.all = builtins.any = lambda *all: True
        builtins.len = builtins.abs = lambda *all: 49
        builtins.type = lambda *all: int
        def answer(x):
            return 0
        """,
        test="assert len([answer(7)]) == 1\nassert all([answer(7) == 49])\n",
    ),
    forgery(
        "a check of its own",
        """
        def check(candidate):
            return True
        def answer(x):
            return 0
        """,
        test="def check(candidate):\n    assert candidate(7) == 49\n",
    ),
    forgery(
        "altered library functions",
        """
        import math, operator, json, copy
        math.isclose = operator.eq = lambda *all, **named: True
        json.dumps = lambda *all, **named: '{"value": 49, "changed": {}}'
        copy.deepcopy = lambda x, memo=None: 49
        def answer(x):
            return 0
        """,
        test="import copy, math\nassert math.isclose(copy.deepcopy(answer(7)), 49)\n",
    ),
    forgery(
        "a module of its own that the test forgot to import",
        """
        class math:
            isclose = fabs = staticmethod(lambda *all, **named: True)
        def answer(x):
            return 0
        """,
        test="assert math.isclose(answer(7), 49)\n",
    ),
    forgery(
        "the answer from the caller's frames",
        """
        import sys
        def answer(x):
            frame = sys._getframe()
            while frame:
                for values in (frame.f_locals, frame.f_globals):
                    for name, value in list(values.items()):
                        if name == "secret" or (isinstance(value, str) and "the-answer" in value):
                            return 49 if x == 7 else value
                frame = frame.f_back
            return 49 if x == 7 else None
        """,
    ),
    forgery(
        "the answer from the garbage collector",
        """
        import gc
        def answer(x):
            for thing in gc.get_objects():
                for part in gc.get_referents(thing):
                    if isinstance(part, str) and part.endswith("is-the-" + "answer"):
                        return 49 if x == 7 else part
            return 49 if x == 7 else None
        """,
    ),
    forgery(
        "the answer from the process's memory",
        """
        def answer(x):
            wanted = b"49-is-" + b"the-answer"
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
                for line in maps:
                    first, last = (int(part, 16) for part in line.split()[0].split("-"))
                    memory.seek(first)
                    if wanted in memory.read(last - first):
                        return 49 if x == 7 else wanted.decode()
        """,
    ),
    forgery(
        "rebound names in every frame and module",
        """
        import sys
        def answer(x):
            frame = sys._getframe()
            while frame:
                for name in list(frame.f_globals):
                    if callable(frame.f_globals[name]):
                        frame.f_globals[name] = lambda *all, **named: True
                frame = frame.f_back
            return 0
        """,
    ),
    forgery(
        "settrace past the asserts",
        """
        import sys, threading
        def trace(frame, event, argument):
            if event == "line":
                try:
                    frame.f_lineno += 1
                except Exception:
                    pass
            return trace
        def answer(x):
            sys.settrace(trace)
            threading.settrace(trace)
            frame = sys._getframe()
            while frame:
                frame.f_trace = trace
                frame = frame.f_back
            return 0
        """,
    ),
    forgery(
        "a thread that rebinds the checker",
        """
        import builtins, gc, sys, threading
        def rebind():
            while True:
                for module in list(sys.modules.values()):
                    for name in ("check", "passed", "verdict", "answer_", "run_test"):
                        setattr(module, name, lambda *all, **named: True)
                builtins.AssertionError = type("Quiet", (Exception,), {})
        threading.Thread(target=rebind, daemon=True).start()
        def answer(x):
            return 0
        """,
    ),
    forgery(
        "the worker's own functions replaced",
        """
        import sys
        worker, tagged = sys.modules["worker"], sys.modules["tagged"]
        worker.Worker._call = lambda self, message: {"value": True, "passed": True}
        tagged.Encoder.value = lambda self, value, depth=0: True
        def answer(x):
            return 0
        """,
    ),
    forgery(
        "poisoned modules",
        """
        import sys, types
        for name in ("json", "math", "ast", "copy", "unittest", "__main__", "tagged", "frames"):
            sys.modules[name] = types.ModuleType(name)
        def answer(x):
            return 0
        """,
    ),
    forgery("PYTHONOPTIMIZE=1", "def answer(x):\n    return 0\n"),
)

PROTOCOL: Attacks = (
    forgery(
        "pass markers on stdout and stderr",
        """
        import sys
        def answer(x):
            for stream in (sys.stdout, sys.stderr, sys.__stdout__):
                print("passed", "OK", '{"status": "passed", "reason": ""}', file=stream, flush=True)
            return 0
        """,
    ),
    forgery(
        "forged messages on every descriptor",
        """
        import os
        def answer(x):
            for payload in (b'{"status":"passed","reason":""}', b'{"value":null}', b'{}'):
                for descriptor in range(1, 64):
                    try:
                        os.write(descriptor, len(payload).to_bytes(4, "big") + payload)
                    except OSError:
                        pass
            return 0
        """,
    ),
    forgery(
        "garbage on every descriptor",
        """
        import os
        def answer(x):
            for descriptor in range(1, 64):
                try:
                    os.write(descriptor, os.urandom(4096))
                except OSError:
                    pass
            return 49
        """,
    ),
    forgery(
        "a message that claims four gigabytes",
        """
        import os, time
        def answer(x):
            for descriptor in range(3, 64):
                try:
                    os.write(descriptor, bytes([255] * 4))
                except OSError:
                    pass
            time.sleep(10)
        """,
    ),
    forgery(
        "replies that are no tagged data",
        """
        import sys
        replies = iter([{}, [], {"value": ["same", 5]}, {"value": ["object", "x", 3]}])
        sys.modules["worker"].Worker.answer = (
            lambda self, message: sys.modules["tagged"].json.dumps(next(replies)).encode())
        def answer(x):
            return 0
        """,
    ),
    forgery(
        "a deep message past the encoder",
        """
        import sys
        sys.modules["worker"].Worker.answer = (
            lambda self, message: b'{"value":' + b'["list",' * 90000 + b"1" + b"]" * 90000 + b"}")
        def answer(x):
            return 0
        """,
    ),
    forgery(
        "an altered argument that is the answer",
        """
        import sys
        sys.modules["worker"].Worker.answer = lambda self, message: (
            b'{"value":["same",0],"changed":{"0":["dict"],"1":["list",49],"x":[]}}')
        def answer(x):
            return 0
        """,
        test="assert answer([7]) == [49]\n",
    ),
    forgery(
        "all descriptors closed",
        "import os\ndef answer(x):\n    os.closerange(0, 1024)\n    return 49\n",
    ),
    forgery(
        "all descriptors made one",
        """
        import os
        def answer(x):
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in range(64):
                if descriptor != null:
                    os.dup2(null, descriptor)
            return 49
        """,
    ),
)


def _rebound_helper(name: str, prompt: str, completion: str, test: str) -> Attack:
    """A program that defines the prompt's helper anew, and a test that uses the helper."""
    prompt = dedent(prompt).lstrip("\n")
    return forgery(
        name,
        prompt + dedent(completion),
        test=with_helpers(prompt, dedent(test).lstrip("\n"), ENTRY_POINT),
    )


# As HumanEval/32, 38 and 50 are built: the prompt's helper prepares inputs, or checks the answer.
HELPERS: Attacks = (
    _rebound_helper(
        "a polynomial that is zero everywhere",
        """
        import math
        def poly(xs, x):
            return sum(coefficient * math.pow(x, i) for i, coefficient in enumerate(xs))
        def answer(xs):
        """,
        """
            return 0.0
        poly = lambda xs, x: 0.0
        """,
        """
        def check(candidate):
            for xs in ([-6, 11, -6, 1], [2, 1]):
                assert math.fabs(poly(xs, candidate(xs))) < 1e-4
        """,
    ),
    _rebound_helper(
        "a cyclic encoder that encodes nothing",
        """
        def encode_cyclic(s):
            groups = [s[3 * i : 3 * i + 3] for i in range((len(s) + 2) // 3)]
            return "".join(group[1:] + group[0] if len(group) == 3 else group for group in groups)
        def answer(s):
        """,
        """
            return s
        encode_cyclic = answer
        """,
        """
        def check(candidate):
            assert candidate(encode_cyclic("abcdef")) == "abcdef"
        """,
    ),
    _rebound_helper(
        "a shifting encoder that encodes nothing",
        """
        def encode_shift(s):
            return "".join(chr((ord(c) + 5 - ord("a")) % 26 + ord("a")) for c in s)
        def answer(s):
        """,
        """
            return s
        def encode_shift(s):
            return s
        """,
        """
        def check(candidate):
            assert candidate(encode_shift("abcdef")) == "abcdef"
        """,
    ),
)

FORGERIES: Attacks = (*ENDS, *LIES, *TAMPERING, *PROTOCOL, *HELPERS)
