"""What the code cites is there: sections of docs/method.md, headings of the other pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
HEADINGS = {
    name: re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE) for name, page in PAGES.items()
}
SECTIONS = re.findall(r"^## ([0-9]+)\. ", PAGES["method"], flags=re.MULTILINE)
APPENDICES = re.findall(r"(?:App\. |\b)([A-Z](?:\.[0-9]+)?)\b", " ".join(HEADINGS["method"]))
FOREIGN = r"[(](?:``)?(?:EVA|design|reliability|scale|libraries)(?:``|, [\"])"
"""Notes that the project does not carry."""


def sources() -> dict[str, str]:
    """The text of every source file, each stretch of white space a blank."""
    return {
        str(path.relative_to(ROOT)): " ".join(path.read_text(encoding="utf-8").split())
        for path in sorted((ROOT / "src").rglob("*.py"))
    }


def wrong(text: str) -> list[str]:
    """Citations in a text that lead nowhere."""
    cited = re.findall(r"\bmethod, sections? ([0-9]+(?:(?:, | and )[0-9]+)*)", text)
    numbers = [number for one in cited for number in re.findall("[0-9]+", one)]
    appendices = re.findall(r"\b[Aa]ppendix ([A-Z](?:\.[0-9]+)?)", text)
    pages = re.findall(r'\bdocs/(\w+)\.md(?:, "([^"]+)")?', text)
    return [
        *(f"method, section {number}" for number in numbers if number not in SECTIONS),
        *(f"appendix {name}" for name in appendices if name not in APPENDICES),
        *(
            f"docs/{page}.md, {heading}"
            for page, heading in pages
            if page not in PAGES or (heading and heading not in HEADINGS[page])
        ),
        *re.findall(FOREIGN, text),
    ]


def test_every_citation_leads_somewhere() -> None:
    found = {name: text for name, text in sources().items() if "method, section" in text}
    assert len(found) > 30, "the citations were not found"
    assert {name: bad for name, text in sources().items() if (bad := wrong(text))} == {}


def test_a_citation_that_leads_nowhere_is_noticed() -> None:
    assert wrong("(method, section 9; appendix A) and docs/method.md") == []
    assert wrong("(method, sections 2 and 77)") == ["method, section 77"]
    assert wrong("appendix Z.9") == ["appendix Z.9"]
    assert wrong('docs/none.md, docs/method.md, "None"') == [
        "docs/none.md, ",
        "docs/method.md, None",
    ]
    assert len(wrong('(EVA, "Notation") (``reliability``)')) == 2
