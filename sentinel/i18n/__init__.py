"""Give the texts for people, in zh-CN and en, from catalogues with the same keys in both languages.

Keys are stable names (`staff.card-expired`), never source strings: voices, tests and sites refer to them. `zh_CN.json`
and `en.json` hold the words of the rules; a part of the house with many texts keeps its own beside them
(`zh_CN.console.json`), and no key is in two files. Namespaces: `screen` is read by residents and never says why
somebody was refused, nor a temperature; `staff` says what to do next; `remedy` what to do about a device; `line` is one
entry of the ledger in one line; the rest are the words for values.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sentinel.core.errors import UsageError

LANGUAGES = ("zh-CN", "en")
DEFAULT_LANGUAGE = "zh-CN"
_FOLDER = Path(__file__).parent


def language_of(wish: str | None) -> str:
    """Return the language we have for a wish such as `zh_CN.UTF-8`, `en-GB` or what a browser sends first.

    Whoever asks for a language we lack is served in English; whoever asks for none, in the default.
    """
    tag = (wish or "").replace("_", "-").split(",")[0].split(".")[0].split(";")[0].strip().lower()
    if not tag or tag in ("c", "posix"):
        return DEFAULT_LANGUAGE
    return "zh-CN" if tag == "zh" or tag.startswith("zh-") else "en"


def files_of(lang: str) -> tuple[Path, ...]:
    """Return the catalogue files of one language, the rules' own first."""
    stem = language_of(lang).replace("-", "_")
    return (_FOLDER / f"{stem}.json", *sorted(_FOLDER.glob(f"{stem}.*.json")))


@cache
def catalogue(lang: str) -> Mapping[str, str]:
    """Return all texts of one language by key."""
    texts: dict[str, str] = {}
    for path in files_of(lang):
        texts |= json.loads(path.read_text(encoding="utf-8"))
    return texts


def has_text(key: str) -> bool:
    """Tell whether there is a text with this key."""
    return key in catalogue(DEFAULT_LANGUAGE)


def text(key: str, lang: str, **values: object) -> str:
    """Return the text, with its places filled.

    Raises: UsageError when the key or one of its values is missing: a bug that tests find, never a person.
    """
    try:
        return catalogue(lang)[key].format(**values)
    except KeyError as missing:
        raise UsageError(f"text {key!r} lacks {missing}; add it to both languages in sentinel/i18n") from missing


def remedy(component: str, symptom: str, lang: str) -> str:
    """Return what to do about a component that is not well; symptoms are an open set, so there is always an answer."""
    keys = (f"remedy.{component}.{symptom}", f"remedy.any.{symptom}", "remedy.any.other")
    return text(next(key for key in keys if has_text(key)), lang)
