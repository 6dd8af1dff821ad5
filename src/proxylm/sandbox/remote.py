"""What a test holds of the candidate: objects that stay in the worker, reached by messages.

A test may call them, walk through them, use their attributes and pass them back. It may not
compare them or take their truth: a candidate's own ``__eq__`` or ``__bool__`` is never trusted, so
a test that asks ends as failed. Data that comes back is a fresh value of a built-in type.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from proxylm.sandbox.confined_worker import ConfinedWorker
from proxylm.sandbox.inside import tagged
from proxylm.sandbox.verdict import Status

VALUE_REPLY_BYTES = len('{"value":}')
ENDS_OF_ITERATION = (StopIteration, StopAsyncIteration)


class Candidate:
    """The program under test, as the trusted process knows it."""

    def __init__(self, worker: ConfinedWorker):
        self._worker = worker
        self._objects: dict[int, RemoteObject] = {}
        self._called: set[int] = set()

    def define(self, source: str) -> None:
        """Run the program's source; raises what it raises."""
        self._ask({"do": "define", "source": source})

    def named(self, name: str) -> Any:
        """What the program has under a name: data, or a remote object; NameError if nothing."""
        return self._value(self._ask({"do": "name", "name": name}))

    def call(self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a remote object; what it changes in its arguments is changed in ours."""
        self._called.add(number)
        form, objects = tagged.encode_arguments(args, kwargs, _handle)
        return self._value(self._ask({"do": "call", "object": number, **form}), objects)

    def was_called(self, function: Any) -> bool:
        """Whether the test has called this object of the candidate's."""
        return type(function) is RemoteObject and remote_number(function) in self._called

    def iterate(self, number: int) -> Iterator[Any]:
        """The items of a remote object, one message each; together at most as large as a result."""
        iterator = self._value(self._ask({"do": "iterate", "object": number}))
        if not isinstance(iterator, RemoteObject):
            raise self._worker.end(Status.FAILED, "malformed reply (no iterator)")
        bytes_left = self._worker.max_result_bytes
        while True:
            reply = self._worker.request({"do": "next", "object": remote_number(iterator)})
            if reply.get("type") == "StopIteration":
                return
            bytes_left -= self._worker.last_reply_bytes - VALUE_REPLY_BYTES
            if bytes_left < 0:
                limit = self._worker.max_result_bytes
                raise self._worker.end(Status.FAILED, f"an iterator gives more than {limit} bytes")
            yield self._value(self._checked(reply))

    def attribute(self, number: int, name: str) -> Any:
        """An attribute of a remote object: data, or a remote object."""
        return self._value(self._ask({"do": "attribute", "object": number, "name": name}))

    def set_attribute(self, number: int, name: str, value: Any) -> None:
        """Set an attribute of a remote object to data or a remote object."""
        form, _ = tagged.encode_arguments([value], {}, _handle)
        self._ask({"do": "set", "object": number, "name": name, **form})

    def distrust(self, what: str) -> NoReturn:
        """End the run: the test asked a candidate's object for something it could lie about."""
        raise self._worker.end(Status.FAILED, f"the test {what} an object of the program's own")

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return self._checked(self._worker.request(message))

    def _checked(self, reply: dict[str, Any]) -> dict[str, Any]:
        if "refused" in reply:
            raise self._worker.end(Status.FAILED, f"a result does not cross: {reply['refused']}")
        if "raised" in reply:
            raise self._error(reply)
        return reply

    def _error(self, reply: Mapping[str, Any]) -> BaseException:
        """The candidate's exception as the nearest built-in one, or the end of the run.

        An end of iteration would quietly end a loop of the test's own (``all(map(f, inputs))``):
        it becomes a RuntimeError, as it does in a generator.
        """
        text = f"{reply.get('text')}"
        names = [name for name in reply["raised"] if isinstance(name, str)]
        kinds = [getattr(builtins, name, None) for name in names]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Exception):
                if issubclass(kind, ENDS_OF_ITERATION):
                    return RuntimeError(f"the program raised {kind.__name__}: {text}")
                try:
                    return kind(text)
                except TypeError:  # one that needs more (UnicodeDecodeError): its base will do
                    continue
        return self._worker.end(Status.FAILED, f"{reply.get('type')}: {text}")

    def _value(self, reply: Mapping[str, Any], objects: Sequence[Any] = ()) -> Any:
        decoder = tagged.Decoder(objects, self._open)
        try:
            changed = reply.get("changed", {})
            contents = {int(label): decoder.value(form) for label, form in changed.items()}
            for label, content in contents.items():
                tagged.fill(objects[label], content)
            return decoder.value(reply["value"])
        except (tagged.CannotCross, KeyError, ValueError, IndexError, AttributeError) as error:
            raise self._worker.end(Status.FAILED, f"malformed reply ({error})") from None

    def _open(self, number: Any, type_name: Any) -> RemoteObject:
        if type(number) is not int or type(type_name) is not str:
            raise tagged.CannotCross("malformed message (no number of an object)")
        if number not in self._objects:
            self._objects[number] = RemoteObject(self, number, type_name[:100])
        return self._objects[number]


class RemoteObject:
    """A function, class, instance or iterator of the candidate."""

    _candidate: Candidate
    _number: int
    _type_name: str

    def __init__(self, candidate: Candidate, number: int, type_name: str):
        self.__dict__.update(_candidate=candidate, _number=number, _type_name=type_name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in the worker."""
        return self._candidate.call(self._number, args, kwargs)

    def __iter__(self) -> Iterator[Any]:
        return self._candidate.iterate(self._number)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for on many occasions
            raise AttributeError(name)
        return self._candidate.attribute(self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._candidate.set_attribute(self._number, name, value)

    def __repr__(self) -> str:
        return f"<{self._type_name} of the program>"

    def __hash__(self) -> int:
        return object.__hash__(self)

    def _compared(self, other: object) -> NoReturn:
        self._candidate.distrust("compares")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __bool__(self) -> bool:
        self._candidate.distrust("takes the truth of")

    def __copy__(self) -> RemoteObject:
        return self

    def __deepcopy__(self, memo: object) -> RemoteObject:
        return self


def remote_number(remote: RemoteObject) -> int:
    """The number by which the worker knows the object."""
    return remote._number


def _handle(value: Any) -> list[Any]:
    if type(value) is RemoteObject:
        return ["object", remote_number(value), ""]
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and value is getattr(builtins, name, None):
        return ["object", None, name]  # int, str...: each side has its own
    raise tagged.CannotCross(f"the test passes a {type(value).__name__}, which does not cross")
