"""Say what this site's own faces prove about the similarity it requires, and who looks too much alike."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.core.errors import DataError, Unavailable
from sentinel.i18n import text
from sentinel.phrases import person
from sentinel.settings import Settings, load

if TYPE_CHECKING:
    from recognition.alike import AlikePair
    from recognition.evidence import Interval
    from sentinel.site_evidence import SiteEvidence, Templates

_EXITS = {"proven": 0, "too-low": DataError.exit_code}  # the others: nothing is settled yet


def add(subparsers: Any) -> None:
    """Add `faces check`."""
    nouns = add_nouns(subparsers, "faces", summary="Look at the enrolled faces as a whole: check.")
    check = add_verb(
        nouns,
        "check",
        run_check,
        summary="Say how often a stranger would be taken for somebody here, with what confidence, and who is alike.",
        about="From the templates of the roster, each against all, and from the passages of the ledger. Too\n"
        "few people get no figure but how many are missing. Bounds in brackets hold 90 %. Nobody is named. With\n"
        "--step-up the people most alike show their card as well as their face from now on; run it again after\n"
        "people were added. How it is worked out: docs/faces.md.",
        example="sentinelctl faces check --step-up",
        exits="0 proven, 65 strangers are taken for somebody more often than wished, 69 the evidence settles nothing",
    )
    check.add_argument("--pairs", type=int, default=10, metavar="N", help="show so many alike pairs (default 10)")
    check.add_argument("--step-up", action="store_true", help="ask the people most alike for their card as well")


def run_check(args: argparse.Namespace) -> int:
    """Weigh the evidence, say it, and publish who steps up when asked."""
    from sentinel import roster, stepup
    from sentinel.keyroom import open_vault
    from sentinel.site_evidence import passed_at, templates_of, weigh_site

    settings = load(args.config)
    vault = open_vault(settings)
    templates = templates_of(roster.load(settings.paths.roster, vault).values())
    if not templates.people:
        raise Unavailable(text("cli.faces.none", args.lang))
    told = weigh_site(
        templates,
        passed_at(settings.paths.ledger, templates.model),
        required=settings.face.similarity_one_to_many,
        wished=settings.face.false_match_rate,
    )
    if args.step_up:
        asked = stepup.StepUp.of_pairs((pair.one, pair.other) for pair in told.alike)
        stepup.publish(settings.paths.alike, asked, model=templates.model, similarity=told.evidence.required)
    if args.json:
        print(json.dumps(document(told, templates, settings, args), ensure_ascii=False))
    elif not args.quiet:
        print("\n".join(lines(told, templates, args)))
    return _EXITS.get(str(told.evidence.verdict), Unavailable.exit_code)


def document(
    told: "SiteEvidence", templates: "Templates", settings: Settings, args: argparse.Namespace
) -> dict[str, Any]:
    """Return everything that is told as JSON values."""
    return {
        "schema": "sentinel.faces/1",
        "model": templates.model,
        "templates_elsewhere": templates.elsewhere,
        "required_from": "file" if settings.face.similarity_one_to_many else "shipped",
        **asdict(told.evidence),
        "costs": [
            {**asdict(cost), "opened_lost": told.passed.lost_at(cost.similarity)} for cost in told.evidence.costs
        ],
        "near_misses": {**asdict(told.near), "surprising": told.near.surprising},
        "alike": [
            {"one": pair.one[:8], "other": pair.other[:8], "similarity": round(pair.similarity, 4)}
            for pair in told.alike[: max(args.pairs, 0)]
        ],
        "alike_pairs": len(told.alike),
        "step_up": bool(args.step_up),
    }


def lines(told: "SiteEvidence", templates: "Templates", args: argparse.Namespace) -> list[str]:
    """Return everything that is told in words."""
    evidence, lang = told.evidence, args.lang
    style = render.terminal_style(sys.stdout, plain=args.plain)
    required = f"{evidence.required:.3f}"
    mark = {"proven": "ok", "too-low": "critical"}.get(str(evidence.verdict), "warning")
    said = [
        text("cli.faces.required", lang, required=required),
        text("cli.faces.comparisons", lang, people=evidence.people, templates=evidence.templates,
             comparisons=evidence.comparisons),
        f"{style.mark(mark)} {text(f'cli.faces.verdict.{evidence.verdict}', lang)}",
    ]  # fmt: skip
    if evidence.missing_people:
        said.append(text("cli.faces.missing", lang, count=evidence.missing_people))
    if evidence.false_match_rate and evidence.advised:
        high = f"{evidence.advised.high:.3f}"
        rate = bounded(evidence.false_match_rate)
        said.append(text("cli.faces.rate", lang, required=required, rate=rate, wished=share(evidence.wished)))
        said.append(text("cli.faces.advised", lang, value=f"{evidence.advised.value:.3f}", high=high))
        if evidence.verdict == "too-low":
            said.append(f"{style.arrow} {text('cli.faces.hint.too-low', lang, high=high)}")
    said.append(text("cli.faces.counted", lang, share=bounded(evidence.counted), required=required))
    if templates.elsewhere:
        said.append(text("cli.faces.elsewhere", lang, count=templates.elsewhere))
    return [*said, *_near(told, lang), "", *_costs(told, lang), "", *_alike(told, args)]


def _near(told: "SiteEvidence", lang: str) -> list[str]:
    from recognition.evidence import NEAR

    near = told.near
    if not near.passages:
        return []
    foretold = text("cli.faces.near.untold", lang) if near.foretold is None else share(near.foretold)
    said = [
        text("cli.faces.near", lang, passages=near.passages, near=bounded(near.near), margin=NEAR, foretold=foretold)
    ]
    return [*said, text("cli.faces.near.surprising", lang)] if near.surprising else said


def _costs(told: "SiteEvidence", lang: str) -> list[str]:
    def cell(value: float | None) -> str:
        return text("cli.faces.untold", lang) if value is None else share(value)

    rows = [[text(f"cli.faces.title.{name}", lang) for name in ("similarity", "strangers", "missed", "opened")]]
    for cost in told.evidence.costs:
        rate = bounded(cost.false_match_rate) if cost.false_match_rate else cell(None)
        lost = cell(told.passed.lost_at(cost.similarity))
        rows.append([f"{cost.similarity:.3f}", rate, cell(cost.missed), lost])
    return render.table(rows)


def _alike(told: "SiteEvidence", args: argparse.Namespace) -> list[str]:
    if told.alike:
        said = [text("cli.faces.alike", args.lang, similarity=f"{told.evidence.required:.3f}")]
        said += render.table(_pair(pair, args.lang) for pair in told.alike[: max(args.pairs, 0)])
    else:
        said = [text("cli.faces.nobody-alike", args.lang)]
    if args.step_up:
        people = {token for pair in told.alike for token in (pair.one, pair.other)}
        said.append(text("cli.faces.marked", args.lang, count=len(people)))
    elif told.alike:
        said.append(text("cli.faces.ask", args.lang))
    return said


def _pair(pair: "AlikePair", lang: str) -> tuple[str, ...]:
    from recognition.evidence import SAME_OR_TWIN

    same = text("cli.faces.same", lang) if pair.similarity >= SAME_OR_TWIN else ""
    return person(pair.one), person(pair.other), f"{pair.similarity:.3f}", same


def share(value: float) -> str:
    """Return a share in per cent, small ones with three figures."""
    return "< 0.0001 %" if 0 < value < 1e-6 else f"{value * 100:.3g} %"


def bounded(interval: "Interval") -> str:
    """Return a share with its bounds."""
    return f"{share(interval.value)} [{share(interval.low)}, {share(interval.high)}]"
