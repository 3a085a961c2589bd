"""What stands in the report: its head, and its sections in their order."""

from __future__ import annotations

import time
from collections.abc import Callable

from evo.analysis.campaign_view import Record
from evo.analysis.overview import Overview
from evo.analysis.ranking import Ranked, ranking
from evo.report import sections
from evo.report.ideas import ideas_section
from evo.report.noise import noise_section
from evo.report.page import Page, ReportData, Section, colours
from evo.report.sections import keeps_section, origin_section
from evo.report.variant_details import Pack, pack
from evo.terminal import sentences
from evo.terminal.imported import headline
from evo.terminal.status import told_lines
from evo.terminal.text import better, better_range, clip, count, duration, share, short, value
from population.metrics import label
from population.reading import decisions
from population.store import Store

HEADLINE_CHARACTERS = 60
VERDICT = "verdict"  # the kind of decision that ends an attempt at certification


def page_of(
    store: Store,
    record: Record,
    overview: Overview,
    source_of: Callable[[str], str],
    config: str,
    live: bool = False,
) -> Page:
    """The whole report of one campaign; `live`: without the dossiers, which a server gives one by one."""
    ranked = ranking(record)
    data = ReportData(
        store,
        record,
        overview,
        ranked,
        {one.variant_id: one for one in ranked},
        decisions(store, (VERDICT,)),
        source_of,
        config,
        colours(made.operator for made in record.births().values()),
    )
    parts = _measured_here(data) if overview.imported is None else _read(data)
    headed = _headline(data)
    said = [
        line
        for line in (overview.unprotected, *sentences.trust(data.findings), *told_lines(overview))
        if line not in ("", headed)
    ]
    plain = "" if overview.calibrates or overview.imported else sentences.headline(data.findings)
    first = said.index(overview.unprotected) + 1 if overview.unprotected in said else 0
    return Page(
        title=f"{overview.name}: evolution of train.py",
        subtitle=_subtitle(data),
        headline=headed,
        lines=[*said[:first], f"{plain}."] if plain else said,
        caveats=sentences.against(data.findings) if plain else (),
        evidence=said[first:] if plain else (),
        leader=data.findings.leader_id or "",
        merits=_merits(data),
        sections=[one for one in parts if one is not None],
        pack=Pack(tuple(record.births()), ()) if live else pack(store, record, ranked, source_of),
    )


def _measured_here(data: ReportData) -> tuple[Section | None, ...]:
    return (
        sections.progress_section(data),
        sections.fronts_section(data),
        sections.family_section(data),
        sections.ladder_section(data),
        sections.operators_section(data),
        ideas_section(data),
        sections.failures_section(data),
        sections.spending_section(data),
        noise_section(data),
        sections.sandbox_section(data),
        sections.events_section(data),
        sections.again_section(data),
        sections.words_section(),
    )


def _read(data: ReportData) -> tuple[Section | None, ...]:
    """Of a history that was read: nothing about slots, budgets, sandbox or operators at work here."""
    return (
        keeps_section(data.overview.imported),
        sections.progress_section(data),
        sections.fronts_section(data),
        sections.family_section(data),
        sections.failures_section(data),
        origin_section(sections.take_home(data.findings)),
        sections.words_section(),
    )


def _headline(data: ReportData) -> str:
    """The one thing to know, with its n: the sentences below it say how sure that is."""
    overview, findings = data.overview, data.findings
    if overview.imported is not None:
        return headline(overview.imported)
    if overview.calibrates:
        return told_lines(overview)[0]
    fresh, leader = findings.final, findings.leader_id
    if leader is None or (fresh is None and findings.search is None):
        return sentences.found(findings)[0]
    if fresh is None:
        return f"{short(leader)} leads; whether it is better than the seed is not known yet"
    means = sentences.means(fresh)
    verb = "" if means.startswith("looks") else "is "
    gain = f"{label(fresh.metric)} {better(fresh.metric, fresh.gain, fresh.se)}"
    said = f"{short(leader)} {verb}{means}: {gain} on {count(fresh.n, 'fresh block')}"
    return f"{said}{_what(data)}"


def _what(data: ReportData) -> str:
    """What the leader is: its last idea, its size against the seed's, and the rung where it did not run."""
    findings, parts = data.findings, []
    if findings.chain:
        last = findings.chain[-1]
        parts.append(clip(last.idea or last.operator, HEADLINE_CHARACTERS))
    pair = (data.by_id.get(one or "") for one in (findings.leader_id, findings.seed_id))
    sizes = [
        one.estimates["parameters"].mean
        for one in pair
        if one is not None and "parameters" in one.estimates
    ]
    if len(sizes) == 2 and sizes[1] > 0 and sizes[0] != sizes[1]:
        parts.append(f"{sizes[0] / sizes[1]:.3g} times the seed's parameters")
    for one in findings.graduates:
        if one.variant_id == findings.leader_id and one.comparison is None:
            parts.append(f"not run at {one.rung}")
    return f" ({'; '.join(parts)})" if parts else ""


def _subtitle(data: ReportData) -> str:
    runs = data.record.attempts
    if not runs:
        return "nothing measured yet"
    if data.overview.imported is not None:
        children = count(data.findings.children, "child", "children")
        return f"{count(len(runs), 'reported run')} · {children} · {data.overview.phase}"
    first = time.strftime("%Y-%m-%d %H:%M", time.gmtime(runs[0].measurement.started_at))
    hosts = sorted({row.measurement.host for row in runs})
    return (
        f"began {first} UTC · {count(len(runs), 'run')} · {count(data.findings.children, 'child', 'children')}"
        f" · {count(data.overview.slots, 'slot')} on {count(len(hosts), 'machine')} · {data.overview.phase}"
    )


def _merits(data: ReportData) -> list[tuple[str, str, str]]:
    findings, metric = data.findings, data.findings.objective
    merits = []
    seed = data.by_id.get(findings.seed_id)
    if seed is not None:
        merits.append(
            (
                f"seed, {label(metric)}",
                value(metric, *seed.told(metric)[:2]),
                _known(seed, metric),
            )
        )
    leader = data.by_id.get(findings.leader_id or "")
    if leader is not None:
        text = value(metric, *leader.told(metric)[:2])
        merits.append((f"leader {short(leader.variant_id)}", text, _known(leader, metric)))
    if data.overview.imported is not None:
        return merits
    fresh = findings.final
    if fresh is not None:
        ends = f"n={fresh.n}: too few pairs for an interval"
        if fresh.gain_interval is not None:
            ends = f"95 %: {better_range(fresh.metric, fresh.gain_interval, fresh.se)}, n={fresh.n}"
        told = better(fresh.metric, fresh.gain, fresh.se)
        merits.append((f"on fresh blocks, {label(fresh.metric)}", told, ends))
    certified = sum(one.detail.get("verdict") == "certified" for one in data.verdicts)
    tried = count(len(data.verdicts), "attempt")
    if data.overview.certifies or certified:
        merits.append(("certified champions", str(certified), tried))
    spent, price = data.overview.spent, []
    if tokens := spent.tokens_in + spent.tokens_out:
        unknown = " + unknown" if spent.price_unknown else ""
        price = [f"{tokens:,} tokens", f"{spent.dollars:.2f}{unknown} dollars"]
    busy = f"slots busy {share(data.overview.slot_busy_share)}"
    merits.append(("slot time", duration(spent.slot_seconds), "; ".join([busy, *price])))
    return merits


def _known(one: Ranked, metric: str) -> str:
    _, error, n = one.told(metric)
    known = f"believed ± {value(metric, error, error)}, " if error == error else "believed, "
    return f"{known}n={n}"
