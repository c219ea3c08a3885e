"""What the documents name is there: files, headings, commands. A page that points nowhere is worse than none."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OURS = {"sentinel", "drivers", "recognition", "sync", "config", "systemd", "scripts", "tests", "docs", ".ci"}
AT_THE_TOP = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"}
TOPICS = ("sentinel/v1",)  # MQTT topics look like paths and are none
CODE = [
    *(path for folder in OURS - {"docs"} for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
    ROOT / "setup.cfg",
]

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose_of(document: Path) -> str:
    """Return the text without its fenced blocks."""
    return re.sub(r"^(```|~~~).*?^\1", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def blocks_of(document: Path) -> str:
    """Return what stands in fenced blocks."""
    fenced = re.findall(r"^(```|~~~)[^\n]*\n(.*?)^\1", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "\n".join(body for _, body in fenced)


def is_path_of_ours(text: str) -> bool:
    if text.startswith(TOPICS) or not re.fullmatch(r"[\w./@*-]+", text):
        return False
    return text in AT_THE_TOP or ("/" in text and text.removeprefix("./").split("/")[0] in OURS)


def exists(text: str) -> bool:
    text = text.removeprefix("./").rstrip("/")
    return any(ROOT.glob(text)) if "*" in text else (ROOT / text).exists()


def headings_of(document: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them."""
    titles = re.findall(r"^#+ +(.*?) *$", prose_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@documents
def test_every_file_a_page_names_exists(document):
    named = {word for span in re.findall(r"`([^`\n]+)`", prose_of(document)) for word in span.split()}
    named |= {word for line in blocks_of(document).splitlines() for word in line.split() if word.startswith("scripts/")}
    named = {re.sub(r":\d+$", "", word.rstrip(".,;:")) for word in named}
    missing = sorted(word for word in named if is_path_of_ours(word) and not exists(word))
    assert missing == [], f"{document.name} names what is not there"


@documents
def test_every_relative_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), f"{document.name} links to {target}"
        if anchor and page.suffix == ".md":
            assert anchor in headings_of(page), f"{document.name} links to {target}, which has no such heading"


def test_every_command_is_documented():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    commands = [line.partition("=")[0].strip() for line in setup["options.entry_points"]["console_scripts"].split("\n")]
    told = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert [name for name in commands if name and not re.search(rf"{name}(?![\w-])", told)] == []


def test_every_page_and_heading_that_the_code_names_exists():
    wrong = []
    for path in CODE:
        if (
            path.suffix in {".py", ".toml", ".cfg", ".service", ".socket", ".json", ""}
            and "__pycache__" not in path.parts
        ):
            text = re.sub(r"\s*\n[ #]*", " ", path.read_text(encoding="utf-8", errors="replace"))
            dangling = [name for name in pages_named(text) if not is_there(*name)]
            wrong += [f"{path.relative_to(ROOT)} names {page} {heading}" for page, heading in dangling]
    assert not wrong, "\n".join(wrong)


def pages_named(text: str) -> set[tuple[str, str]]:
    """Return the pages that a source names, each with the heading it quotes after it."""
    return set(re.findall(r"\b(docs/[\w-]+\.md)(?:, \\?\"([^\"\\]+))?", text))


def is_there(page: str, heading: str) -> bool:
    document = ROOT / page
    return document.exists() and (
        not heading or heading in re.findall(r"^#+ +(?:[\d.]+ +)?(.*?) *$", prose_of(document), re.M)
    )
