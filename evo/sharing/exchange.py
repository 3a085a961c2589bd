"""Push and pull: a campaign's rows to a remote, and those of others from it, bundle by bundle."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from evo.sharing import signing
from evo.sharing.bundles import (
    MAX_PACKED_BYTES,
    NAME,
    BundleError,
    bundles_of,
    check_row,
    read_bundle,
)
from evo.sharing.merging import (
    CampaignRows,
    Merger,
    SharingError,
    Tell,
    completed,
    merge,
    read_campaign,
)
from evo.sharing.remotes import Remote, opened_remote
from population.sharing.merging import by_age, objection
from population.sharing.shared_rows import Kind, SharedRow, SharedRows, Vouched, canonical


@dataclass(frozen=True, slots=True)
class RefusedBundle:
    """A bundle that is not taken in, and why."""

    bundle: str
    reason: str


@dataclass(slots=True)
class RemoteRows:
    """What lies at a remote: its rows, and by bundle who signed it."""

    rows: SharedRows = field(default_factory=SharedRows)
    signed_by: dict[str, list[str]] = field(default_factory=dict)
    of_bundle: dict[str, list[SharedRow]] = field(default_factory=dict)
    refused: list[RefusedBundle] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push added. `public_key`: whose signature it bears, "" for none; `made`: made by this push."""

    remote: str
    bundles: tuple[str, ...]
    rows: int
    left_out: tuple[str, ...]
    public_key: str
    key_is_new: bool


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull took in, and which bundles it refused."""

    remote: str
    bundles: int
    trusted: int  # bundles that a trusted key has signed
    refused: tuple[RefusedBundle, ...]
    merger: Merger


def fetch(remote: Remote, trusted: Collection[str], tell: Tell = lambda text: None) -> RemoteRows:
    """Every bundle of a remote that holds what it should; the others with why they are refused."""
    found, names = RemoteRows(), remote.names()
    signatures: dict[str, list[str]] = {}
    for name in names:
        if parts := signing.NAME.fullmatch(name):
            signatures.setdefault(parts[1], []).append(parts[2])
    for number, name in enumerate(sorted(filter(NAME.fullmatch, names)), start=1):
        tell(f"bundle {number} of {len(names) - sum(map(len, signatures.values()))}")
        digest = name.partition(".")[0]
        try:
            if names[name] > MAX_PACKED_BYTES:
                raise BundleError(f"larger than {MAX_PACKED_BYTES:,} bytes")
            bodies = read_bundle(name, remote.read(name))
        except (BundleError, SharingError) as error:
            found.refused.append(RefusedBundle(name, str(error)))
            continue
        signers = []
        for public in signatures.get(digest, ()):
            signature = f"{digest}.{public}.sig"
            if _holds(remote, names[signature], signature, bool(trusted)):
                signers.append(public)
            else:
                why = "does not hold, so it does not count"
                found.refused.append(RefusedBundle(signature, f"the signature {why}"))
        vouched = Vouched.TRUSTED if set(signers) & set(trusted) else Vouched.OTHERS
        rows = [SharedRow.of(body, vouched) for body in bodies]
        found.signed_by[name], found.of_bundle[name] = signers, rows
        found.rows.update(rows)
    return found


def _holds(remote: Remote, size: int, name: str, must_know: bool) -> bool:
    """Whether a signature is the one that its name says; without the package for it, none is known."""
    digest, public, _ = name.split(".")
    try:
        held = remote.read(name) if size <= signing.MAX_SIGNATURE_BYTES else b""
        return signing.is_signed(digest, public, held)
    except SharingError as error:
        if must_know and str(error) == signing.MISSING:
            raise
        return False


def push(
    where: str,
    folder: Path,
    key_file: Path | None,
    dry_run: bool,
    tell: Tell = lambda text: None,
) -> Pushed:
    """Add to a remote the rows of a campaign that are not there yet, signed where there is a key.

    Rows that it took in itself from bundles of others are not passed on.
    """
    tell(f"reading {folder}")
    rows = read_campaign(folder).rows
    made = None if key_file is None or dry_run else signing.read_or_make_key(key_file)
    public = "" if made is None else signing.public_key(made[0])
    with opened_remote(where, must_exist=False) as remote:
        there = fetch(remote, (), tell)
        known: set[bytes] = set()
        for name, held in there.of_bundle.items():
            if not public or public.partition(":")[2] in there.signed_by[name]:
                known |= {canonical(row.body) for row in held}
        ours, left_out = _to_send(rows)
        new = [row for row in ours if canonical(row.body) not in known]
        bundles = bundles_of(new)
        files = dict(bundles)
        if made is not None:
            files |= dict(signing.sign(made[0], name.partition(".")[0]) for name in bundles)
        if not dry_run:
            tell(f"sending {len(bundles)} bundles")
            # signatures last: until then a bundle is one that nobody signed
            remote.add(dict(sorted(files.items(), key=lambda one: one[0].endswith(".sig"))))
    return Pushed(
        where, tuple(bundles), len(new), tuple(left_out), public, made is not None and made[1]
    )


def _to_send(rows: SharedRows) -> tuple[list[SharedRow], list[str]]:
    """Our own rows with the sources that they name, and why some cannot travel."""
    sent, left_out, named = list[SharedRow](), list[str](), set[str]()
    for row in rows:
        if row.vouched is not Vouched.OURS:
            continue
        try:
            check_row(row.body)
        except BundleError as error:
            left_out.append(f"{row.kind} {row.key[:10]}: {error}")
            continue
        sent.append(row)
        named |= {str(row.body.get("variant")), str(row.body.get("seed"))}
        named |= {one for one, _ in row.body.get("parents", ())}
    for row in rows.of(Kind.VARIANT):
        if row.key in named:
            try:
                check_row(row.body)
                sent.append(row)
            except BundleError as error:
                left_out.append(f"{row.kind} {row.key[:10]}: {error}")
    return sent, left_out


def pull(
    where: str,
    folder: Path | None,
    trust: Collection[str],
    new: Path | None,
    tell: Tell = lambda text: None,
) -> Pulled:
    """Merge a campaign with what others pushed to a remote into a new folder; without `new` only say so."""
    trusted = [signing.read_trusted(one) for one in trust]
    sources = [] if folder is None else [read_campaign(folder)]
    with opened_remote(where, must_exist=True) as remote:
        found = fetch(remote, trusted, tell)
    rows = _comparable(sources, found)
    if not sources and not rows.of(Kind.CAMPAIGN):
        told = f"; {found.refused[0].bundle}: {found.refused[0].reason}" if found.refused else ""
        raise SharingError(f"{where} holds no campaign that could be pulled{told}")
    if not sources and any(
        (row.body["config"].get("task") or {}).get("kind") == "command"
        for row in rows.of(Kind.CAMPAIGN)
    ):
        raise SharingError(
            f"{where} holds a campaign of a command, which would run here: name a campaign's folder of "
            "your own that runs the same one"
        )
    merger = merge(sources, rows, new, tell)
    signed = sum(bool(set(keys) & set(trusted)) for keys in found.signed_by.values())
    return Pulled(where, len(found.of_bundle), signed, tuple(found.refused), merger)


def _comparable(sources: Collection[CampaignRows], found: RemoteRows) -> SharedRows:
    """The rows of those campaigns that measure what ours does, or the oldest that we trust, or the oldest."""
    own = [one for source in sources for one in source.rows.of(Kind.CAMPAIGN)]
    there = sorted(found.rows.of(Kind.CAMPAIGN), key=by_age)
    base = next(iter([*own, *there]), None)
    refused: dict[str, str] = {}
    for one in there:
        body = {**one.body, "config": completed(one.body["config"])}
        why = (
            objection({**base.body, "config": completed(base.body["config"])}, body) if base else ""
        )
        if why:
            refused[one.body["campaign"]] = (
                f"{one.body['name']} cannot be merged: it differs in {why}"
            )
    for name, rows in found.of_bundle.items():
        reasons = {refused[of] for row in rows if (of := row.body.get("campaign")) in refused}
        found.refused += [RefusedBundle(name, reason) for reason in sorted(reasons)]
    return SharedRows(row for row in found.rows if row.body.get("campaign") not in refused)
