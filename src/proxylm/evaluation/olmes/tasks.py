"""The nine tasks of the paper's Table 16 as OLMES asks them (Gu et al., arXiv 2406.08446).

A question has two forms. *Cloze*: the model continues the question with the text of a choice. In
*multiple choice* the choices stand under the question, lettered, and it continues with a letter.
OLMES says for each task how the probabilities of a cloze's choices are made comparable.

Records are those of the published data sets, with their own fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_uppercase
from typing import Any, NamedTuple

from proxylm.errors import DataError

ANSWER = "Answer:"
"""What the model continues; alone, what a choice's unconditional probability is given."""
_BLANK = "_"
_TITLE, _BRACKETS = re.compile(r"\.? \[title\]"), re.compile(r"\[.*?\]")


class Normalization(StrEnum):
    """What the probability of a choice is compared by."""

    NONE = "none"
    """Its logarithm."""
    CHARACTER = "character"
    """Its logarithm per character of the continuation, the space before the choice included."""
    SYMBOL = "symbol"
    """Its logarithm per symbol that was read: a byte, or a token."""
    PMI = "pmi"
    """Its logarithm less that of the same text after ``Answer:`` alone (pointwise mutual
    information)."""


class Question(NamedTuple):
    """A record, whatever its fields were called.

    Attributes:
        text: the question.
        choices: in their order.
        answer: the index of the right one.
    """

    text: str
    choices: list[str]
    answer: int


class Form(NamedTuple):
    """A question as the model is asked it.

    Attributes:
        prompts: before each choice.
        continuations: each choice.
        answer: the index of the right one.
    """

    prompts: list[str]
    continuations: list[str]
    answer: int

    @property
    def solved(self) -> str:
        """The text with the right choice, as it stands among the shots."""
        return self.prompts[self.answer] + self.continuations[self.answer]


@dataclass(frozen=True, slots=True)
class OlmesTask:
    """One task.

    Attributes:
        name: of the task, and of its files.
        read: makes a question of a record; raises ``DataError`` where it is none.
        normalization: of the cloze form.
        prefix: what a question begins with.
        heading: lines between the question and its lettered choices.
        sampled: whether OLMES takes 1000 questions of a larger set.
    """

    name: str
    read: Callable[[Mapping[str, Any]], Question]
    normalization: Normalization
    prefix: str = "Question: "
    heading: tuple[str, ...] = ()
    sampled: bool = False

    def cloze(self, question: Question) -> Form:
        """The model continues with the text of a choice."""
        prompt = f"{self.prefix}{question.text}\n{ANSWER}"
        return _form(prompt, question.choices, question.answer)

    def multiple_choice(self, question: Question) -> Form:
        """The model continues with the letter of a choice."""
        letters = list(ascii_uppercase[: len(question.choices)])
        lines = [
            f" {letter}. {text}" for letter, text in zip(letters, question.choices, strict=True)
        ]
        prompt = "\n".join([f"{self.prefix}{question.text}", *self.heading, *lines, ANSWER])
        return _form(prompt, letters, question.answer)


class _HellaSwag(OlmesTask):
    """The question is a beginning, its choices are endings."""

    __slots__ = ()

    def cloze(self, question: Question) -> Form:
        """See the base class."""
        endings = [_without_brackets(choice) for choice in question.choices]
        return _form(_without_brackets(question.text), endings, question.answer)

    def multiple_choice(self, question: Question) -> Form:
        """See the base class."""
        form = super().multiple_choice(question)
        return form._replace(prompts=[_without_brackets(prompt) for prompt in form.prompts])


class _WinoGrande(OlmesTask):
    """The question has a blank. In the cloze form a choice fills it, and what follows is scored."""

    __slots__ = ()

    def cloze(self, question: Question) -> Form:
        """See the base class."""
        before, after = question.text.split(_BLANK, 1)
        return Form(
            prompts=[before + choice for choice in question.choices],
            continuations=[f" {after.strip()}"] * len(question.choices),
            answer=question.answer,
        )

    def multiple_choice(self, question: Question) -> Form:
        """See the base class."""
        text = question.text.replace(_BLANK, 3 * _BLANK)
        return super().multiple_choice(question._replace(text=text))


def _form(prompt: str, choices: list[str], answer: int) -> Form:
    return Form([prompt] * len(choices), [f" {choice}" for choice in choices], answer)


def _without_brackets(text: str) -> str:
    """Without the marks that WikiHow's pages left in HellaSwag."""
    return _BRACKETS.sub("", _TITLE.sub(". ", text.strip())).replace("  ", " ")


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise DataError(f"'{key}' is {'missing' if key not in fields else 'no text'}")
    return value


def _texts(fields: Mapping[str, Any], *keys: str) -> list[str]:
    return [_text(fields, key) for key in keys]


def _index(value: Any, first: int = 0) -> int:
    """An index of a choice that is counted from ``first``, as a number or as its digits."""
    try:
        return int(value) - first
    except (TypeError, ValueError):
        raise DataError(f"{value!r:.40} is no number of a choice") from None


def _lettered(question_key: str) -> Callable[[Mapping[str, Any]], Question]:
    """Reads ARC's form: ``choices`` with ``text`` and ``label``, and ``answerKey``."""

    def read(fields: Mapping[str, Any]) -> Question:
        choices = fields.get("choices")
        if not isinstance(choices, dict) or not isinstance(choices.get("text"), list):
            raise DataError("'choices' has no list 'text'")
        labels, answer = choices.get("label"), _text(fields, "answerKey").strip()
        if not isinstance(labels, list) or answer not in labels:
            raise DataError(f"'answerKey' {answer!r:.40} is none of the labels of 'choices'")
        texts = choices["text"]
        if not all(isinstance(text, str) for text in texts):
            raise DataError("a choice is no text")
        return Question(_text(fields, question_key), texts, labels.index(answer))

    return read


def _read_boolq(fields: Mapping[str, Any]) -> Question:
    passage, asked = _texts(fields, "passage", "question")
    is_true = fields.get("label", fields.get("answer"))
    if is_true not in (0, 1):
        raise DataError("neither 'label' nor 'answer' says whether it is true")
    return Question(f"{passage}\nQuestion: {asked}?", ["yes", "no"], int(not is_true))


def _read_hellaswag(fields: Mapping[str, Any]) -> Question:
    activity, first, second = _texts(fields, "activity_label", "ctx_a", "ctx_b")
    endings = fields.get("endings")
    if not isinstance(endings, list) or not all(isinstance(one, str) for one in endings):
        raise DataError("'endings' is no list of texts")
    return Question(
        f"{activity}: {first} {second.capitalize()}", endings, _index(fields.get("label"))
    )


def _read_piqa(fields: Mapping[str, Any]) -> Question:
    goal, *solutions = _texts(fields, "goal", "sol1", "sol2")
    return Question(goal, solutions, _index(fields.get("label")))


def _read_socialiqa(fields: Mapping[str, Any]) -> Question:
    context, asked, *answers = _texts(
        fields, "context", "question", "answerA", "answerB", "answerC"
    )
    return Question(f"{context} {asked}", answers, _index(fields.get("label"), first=1))


def _read_winogrande(fields: Mapping[str, Any]) -> Question:
    sentence, *options = _texts(fields, "sentence", "option1", "option2")
    if sentence.count(_BLANK) != 1:
        raise DataError(f"'sentence' has not one blank ({_BLANK})")
    return Question(sentence, options, _index(fields.get("answer"), first=1))


_READ_ARC = _lettered("question")

TASKS: dict[str, OlmesTask] = {
    task.name: task
    for task in (
        OlmesTask("arc_challenge", _READ_ARC, Normalization.PMI),
        OlmesTask("arc_easy", _READ_ARC, Normalization.CHARACTER, sampled=True),
        OlmesTask("boolq", _read_boolq, Normalization.NONE, prefix="", sampled=True),
        OlmesTask("csqa", _READ_ARC, Normalization.PMI),
        _HellaSwag(
            "hellaswag",
            _read_hellaswag,
            Normalization.CHARACTER,
            prefix="",
            heading=("Choose the best continuation:",),
            sampled=True,
        ),
        OlmesTask("openbookqa", _lettered("question_stem"), Normalization.PMI),
        OlmesTask("piqa", _read_piqa, Normalization.CHARACTER, prefix="Goal: ", sampled=True),
        OlmesTask("socialiqa", _read_socialiqa, Normalization.CHARACTER, sampled=True),
        _WinoGrande(
            "winogrande", _read_winogrande, Normalization.NONE, prefix="Fill in the blank: "
        ),
    )
}
"""By name, in the order of Table 16."""
