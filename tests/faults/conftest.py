"""Play the campaign once for all tests of this package; of the cases those that were asked for, else all."""

import pytest

from .campaign import Finding, Played, play
from .cases import CASES


@pytest.fixture(scope="session")
def played(tmp_path_factory, request) -> list[Played]:
    """All gates after their campaigns."""
    asked = {item.callspec.params["case"].id for item in request.session.items if _has_case(item)}
    return play(tmp_path_factory.mktemp("f"), frozenset(asked or {case.id for case in CASES}))


@pytest.fixture(scope="session")
def findings(played) -> dict[str, Finding]:
    """What came of each case."""
    return {found.case.id: found for one in played for found in one.findings}


def _has_case(item: pytest.Item) -> bool:
    return "case" in getattr(getattr(item, "callspec", None), "params", {})
