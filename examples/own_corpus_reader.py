"""Documents in a format of one's own: the letters of a mailbox."""

import mailbox
from pathlib import Path

import proxylm as px


def letters(path):
    """Pairs of an id and the bytes of a document, which is all that ``prepare`` asks for."""
    for message in mailbox.mbox(path):
        yield message["Message-ID"], message.get_payload(decode=True)


if __name__ == "__main__":
    letter = "From a@example.org\nMessage-ID: <{0}>\n\nLetter {0}: hello.\n\n"
    Path("inbox.mbox").write_text("".join(letter.format(n) for n in range(200)), encoding="utf-8")
    store = px.prepare(letters("inbox.mbox"), "units:bits=4", "views/letters")
    print(store, store.document_id(7), store.raw(7).tobytes())
