"""Which variants there are, and which one a text means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from statistics import fmean

from population.ladder import KINDS, Ladder
from population.reading.campaign import decisions, pending
from population.reading.measurements import measurements
from population.store import Store
from population.types import Purpose, Variant

SHORTEST_PREFIX = 4
MIN_SHARED = 0.5
NAMES = ("seed", "leader", "best", "last")


class UnknownVariant(LookupError):
    """No variant, or more than one, answers to this text; the message lists near ones."""


def variant(store: Store, variant_id: str) -> Variant:
    """The variant with this full id. UnknownVariant when there is none."""
    rows = store.query("SELECT source, fingerprint FROM variants WHERE id = ?", [variant_id])
    if not rows:
        raise UnknownVariant(f"no variant {variant_id!r}")
    return Variant(variant_id, *rows[0])


def source_of(store: Store, variant_id: str) -> str:
    """The source of the variant with this full id. UnknownVariant when there is none."""
    return variant(store, variant_id).source


def variant_by_fingerprint(store: Store, fingerprint: str) -> str | None:
    """The id of the oldest variant with this fingerprint, or None."""
    sql = "SELECT id FROM variants WHERE fingerprint = ? ORDER BY created, rowid LIMIT 1"
    return store.text(sql, [fingerprint])


def repeated(store: Store, child: Variant) -> str | None:
    """Whom this child repeats: itself where its very source is known, else its oldest twin, or None."""
    if store.query("SELECT 1 FROM variants WHERE id = ?", [child.id]):
        return child.id
    return variant_by_fingerprint(store, child.fingerprint)


def resolve(store: Store, text: str) -> str:
    """The full id for an id, a unique prefix (4 digits or more) or a name of NAMES; else UnknownVariant.

    `leader` is the child that the final comparison was made for, else the front's best child; `best` is the
    front's best by the first objective at the first rung, which may be the seed; `last` is the newest child.
    """
    if text in NAMES:
        return _named(store, text)
    wanted = text.lower()
    if len(wanted) < SHORTEST_PREFIX:
        raise UnknownVariant(f"{text!r} is too short: give at least {SHORTEST_PREFIX} digits")
    found = _starting_with(store, wanted)
    if len(found) == 1 or wanted in found:
        return found[0]
    if found:
        raise UnknownVariant(f"{text!r} could be any of {_short(found)}: give more digits")
    near = _starting_with(store, wanted[:2]) or _starting_with(store, wanted[:1])
    hint = f"near: {_short(near)}" if near else f"names: {', '.join(NAMES)}"
    raise UnknownVariant(f"no variant {text!r} ({hint})")


def _starting_with(store: Store, prefix: str) -> list[str]:
    sql = "SELECT id FROM variants WHERE id >= ? AND id < ? ORDER BY id LIMIT 6"
    return [row[0] for row in store.query(sql, [prefix, prefix + "\U0010ffff"])]


def _short(ids: Collection[str]) -> str:
    return ", ".join(id[:10] for id in ids)


def _named(store: Store, name: str) -> str:
    found = {"seed": seed, "leader": leader, "best": best, "last": _last}[name](store)
    if found is None:
        raise UnknownVariant(f"there is no {name!r} yet")
    return found


def seed(store: Store) -> str | None:
    """The id of the variant everything descends from: that of the first proposal."""
    sql = "SELECT variant_id FROM proposals WHERE outcome = 'variant' ORDER BY number LIMIT 1"
    return store.text(sql)


def best(store: Store) -> str | None:
    """The front's best by the first objective at the first rung; without a front, the variant of lowest
    mean val_bpb with what blocks do taken off.
    """
    rung = _first_rung(store)
    best_first = "SELECT variant_id FROM front WHERE rung = ? ORDER BY place LIMIT 1"
    return store.text(best_first, [rung]) or _best_of_runs(store, rung)


def _best_of_runs(store: Store, rung: str | None) -> str | None:
    from population.statistics import block_means
    from population.statistics.blocks import block_effects

    found = block_means(measurements(store, rung)) if rung is not None else {}
    scores = {one: means["val_bpb"] for one, means in found.items() if "val_bpb" in means}
    effects = block_effects(scores.values()).centred_on(scores.get(seed(store) or "", {}))
    means = {one: fmean(effects.taken_off(by_block).values()) for one, by_block in scores.items()}
    return min(means, key=lambda one: (means[one], one), default=None)


def leader(store: Store) -> str | None:
    """Whom the final comparison was made for, else the front's best child; None without either."""
    members = "SELECT variant_id FROM front WHERE rung = ? ORDER BY place"
    return compared(store) or _first_child(store, members, [_first_rung(store)])


def compared(store: Store) -> str | None:
    """The child that the last final comparison was made for, vetoed ones left out; None before one."""
    finals = """SELECT variant FROM v_measurements WHERE purpose = ?
        GROUP BY variant ORDER BY max(id) DESC"""
    return _first_child(store, finals, [Purpose.FINAL.value])


def _first_child(store: Store, sql: str, values: list[str | None]) -> str | None:
    """The first variant of these rows that is neither the seed nor vetoed."""
    ladder = Ladder.of(decisions(store, KINDS))
    ladder.hear(pending(store))
    left_out = {seed(store), *ladder.vetoed}
    return next((str(one) for (one,) in store.query(sql, values) if one not in left_out), None)


def _first_rung(store: Store) -> str | None:
    sql = "SELECT rung FROM v_measurements WHERE status = 'ok' ORDER BY id LIMIT 1"
    return store.text(sql)


def _last(store: Store) -> str | None:
    newest = "WHERE outcome = 'variant' ORDER BY number DESC LIMIT 1"
    return store.text(f"SELECT variant_id FROM proposals {newest}")


def nearest(store: Store, source: str) -> tuple[str, float]:
    """The variant that shares most lines with a source, the oldest of equals, and what share of both
    sources' lines that is (Dice's coefficient); the seed where it is less than MIN_SHARED.
    UnknownVariant while there is no seed.
    """
    mine = Counter(source.splitlines())
    found = []
    ids = store.query("SELECT id FROM variants ORDER BY created, rowid")
    for place, (one,) in enumerate(ids):
        theirs = Counter(source_of(store, one).splitlines())
        lines = (mine & theirs).total(), mine.total() + theirs.total()
        found.append((2 * lines[0] / max(lines[1], 1), -place, one))
    root = _named(store, "seed")
    share, _, one = max(found)
    if share >= MIN_SHARED:
        return one, share
    return root, next(share for share, _, one in found if one == root)


def unmeasured(store: Store, rung: str) -> list[str]:
    """Variants without a measurement at this rung that counts (lost and voided ones do not), as proposed."""
    sql = """SELECT variant_id FROM proposals WHERE outcome = 'variant'
        AND NOT EXISTS (SELECT 1 FROM measurements AS m WHERE m.variant_id = proposals.variant_id
            AND m.rung = ? AND m.status != 'lost'
            AND m.id NOT IN (SELECT measurement_id FROM voids))
        GROUP BY variant_id ORDER BY min(number)"""
    return [row[0] for row in store.query(sql, [rung])]
