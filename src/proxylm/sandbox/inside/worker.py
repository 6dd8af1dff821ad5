"""Runs a candidate's program and answers calls to it, inside the sandbox.

Messages (``frames.py``) are JSON. The first one confines this process (``confinement.py``); then

- ``define`` runs the program's source as a module;
- ``name`` gives what the program has under a name;
- ``call`` calls an object with arguments;
- ``attribute`` and ``set`` get and set an object's attribute;
- ``iterate`` and ``next`` walk through an object.

The reply is ``value`` (and ``changed``: arguments altered in place), ``raised`` or ``refused``.
There is no other side of the test in this process: nothing to find, and nothing to forge but the
values that a candidate may return anyway.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

import confinement
import frames
import tagged

MAX_MESSAGE_CHARACTERS = 500
RANDOM_SEED = 0


class Worker:
    """The candidate's module, and its objects that the test holds handles of."""

    def __init__(self, max_result_bytes: int):
        self._max_result_bytes = max_result_bytes
        self.module = types.ModuleType("candidate")
        sys.modules["candidate"] = self.module  # dataclasses, for one, look their module up
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def answer(self, message: Mapping[str, Any]) -> bytes:
        """The reply to one message; what the candidate does wrong is part of it."""
        try:
            reply = self._do(message)
            return tagged.dump(reply, self._max_result_bytes)
        except tagged.CannotCross as error:
            return tagged.dump({"refused": str(error)})
        except BaseException as error:  # also SystemExit: the candidate's doing, and only data
            return tagged.dump(_raised(error))

    def _do(self, message: Mapping[str, Any]) -> dict[str, Any]:
        what = message["do"]
        if what == "define":
            source = message["source"]
            if "random" in source:  # a program that draws draws the same in every run
                import random

                random.seed(RANDOM_SEED)
            code = compile(source, "<program>", "exec", dont_inherit=True, optimize=0)
            exec(code, self.module.__dict__)
            return {"value": None}
        if what == "name":
            return self._value(self._named(message["name"]))
        if what == "call":
            return self._call(message)
        target = self._objects[message["object"]]
        if what == "attribute":
            return self._value(getattr(target, message["name"]))
        if what == "set":
            ((value,), _, _) = tagged.decode_arguments(message, self._open)
            setattr(target, message["name"], value)
            return {"value": None}
        if what == "iterate":
            return {"value": self._handle(iter(target))}
        return self._value(next(target))

    def _named(self, name: str) -> Any:
        if name not in self.module.__dict__:
            raise NameError(f"name '{name}' is not defined")
        return self.module.__dict__[name]

    def _call(self, message: Mapping[str, Any]) -> dict[str, Any]:
        function = self._objects[message["object"]]
        args, kwargs, objects = tagged.decode_arguments(message, self._open)
        result = function(*args, **kwargs)
        encoder = self._encoder(objects)
        changed = {}
        for label, (target, before) in enumerate(zip(objects, message["objects"], strict=True)):
            after = encoder.content(target)
            # As text: 1, True and 1.0 are equal, but not the same.
            if json.dumps(after) != json.dumps(before):
                changed[str(label)] = after
        return {"value": encoder.value(result), "changed": changed}

    def _value(self, value: Any) -> dict[str, Any]:
        return {"value": self._encoder().value(value)}

    def _encoder(self, objects: Sequence[Any] = ()) -> tagged.Encoder:
        return tagged.Encoder(self._handle, objects=objects, max_items=self._max_result_bytes)

    def _handle(self, value: Any) -> list[Any]:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return ["object", self._numbers[id(value)], type(value).__name__]

    def _open(self, number: int | None, type_name: str) -> Any:
        return getattr(builtins, type_name) if number is None else self._objects[number]


def _raised(error: BaseException) -> dict[str, Any]:
    names = [base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins"]
    try:
        text = str(error)[:MAX_MESSAGE_CHARACTERS]
    except BaseException:  # the candidate's own __str__
        text = ""
    return {"raised": names, "type": type(error).__name__, "text": text}


def main(calls: int, replies: int) -> None:
    """Confine this process, say so, then answer messages until the other side has gone."""
    first = frames.receive(calls)
    if first is None:
        return
    settings = tagged.load(first)
    try:
        confinement.confine(settings)
    except Exception as error:
        frames.send(replies, tagged.dump({"unconfined": f"{type(error).__name__}: {error}"}))
        return
    os.dup2(1, 2)  # what is said from here on is the candidate's; both streams go nowhere
    frames.send(replies, tagged.dump({"confined": True}))
    worker = Worker(settings["max_result_bytes"])
    while (message := frames.receive(calls)) is not None:
        frames.send(replies, worker.answer(tagged.load(message)))
