"""A campaign as an Optuna study in SQLite, which optuna-dashboard opens as it is.

A trial a variant. Its value is what is believed of it in the first objective; its intermediate values are the
loss that its first run told, by percent of its training; its parameters are its knobs. All else is in the user
attributes: who made it from whom and why, every metric, its standing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import Ranked, ranking
from operators.source.knobs import Knob, KnobKind, sound_knobs
from population.types import Measurement, ProposalRow, Status

Curves = Callable[[int], Measurement]  # the whole measurement of a row's id


def write_study(
    path: Path,
    record: Record,
    source_of: Callable[[str], str],
    whole: Curves,
    name: str = "",
) -> int:
    """A new SQLite file with one study; how many trials it holds. The file must not be there yet."""
    import optuna
    from optuna.storages import RDBStorage

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = RDBStorage(f"sqlite:///{path}")
        study = optuna.create_study(
            study_name=name or str(record.config.get("name", "campaign")),
            storage=storage,
            direction="minimize" if record.objective.sign > 0 else "maximize",
        )
        study.set_user_attr("seed", record.seed_id)
        with (
            warnings.catch_warnings()
        ):  # the dashboard's name of the axis; Optuna calls it experimental
            warnings.simplefilter("ignore")
            study.set_metric_names([record.objective.name])
        trials = list(_trials(record, source_of, whole))
        study.add_trials(trials)
        storage.engine.dispose()
    finally:
        optuna.logging.set_verbosity(before)
    return len(trials)


def _trials(record: Record, source_of: Callable[[str], str], whole: Curves) -> list[Any]:
    from optuna.trial import TrialState, create_trial

    ranked = {one.variant_id: one for one in ranking(record)}
    firsts: dict[str, tuple[int, Measurement]] = {}
    for row in record.at_proxy():
        firsts.setdefault(row.measurement.request.variant_id, (row.id, row.measurement))
    running = {one.request.variant_id for one in record.in_flight}
    spaces: dict[str, Any] = {}
    found = []
    for number, (variant_id, made) in enumerate(record.births().items()):
        row_id, run = firsts.get(variant_id, (0, None))
        one = ranked.get(variant_id)
        belief = one.estimates.get(record.objective.name) if one is not None else None
        state = TrialState.COMPLETE if belief is not None else _state(run, variant_id in running)
        params, spaces_here, odd = _params(sound_knobs(source_of(variant_id)), spaces)
        trial = create_trial(
            state=state,
            value=belief.mean if belief is not None else None,
            params=params,
            distributions=spaces_here,
            user_attrs=_attributes(variant_id, made, one, run, odd),
            intermediate_values=_curve(whole(row_id)) if run is not None else {},
        )
        trial.number = number
        trial.datetime_start = datetime.fromtimestamp(made.created_at)
        if state.is_finished() and run is not None:
            ended = run.started_at + run.wall_seconds
            trial.datetime_complete = datetime.fromtimestamp(max(ended, made.created_at))
        found.append(trial)
    return found


def _state(run: Measurement | None, is_running: bool) -> Any:
    from optuna.trial import TrialState

    if run is None:
        return TrialState.RUNNING if is_running else TrialState.WAITING
    return TrialState.PRUNED if run.status is Status.STOPPED else TrialState.FAIL


def _curve(run: Measurement) -> dict[int, float]:
    """The loss by whole percent of the training, the last point of each."""
    return {round(100 * point.progress): point.loss for point in run.curve}


def _attributes(
    variant_id: str,
    made: ProposalRow,
    one: Ranked | None,
    run: Measurement | None,
    odd: Mapping[str, Any],
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "variant": variant_id,
        "operator": made.operator,
        "parents": [parent.variant_id for parent in made.parents],
        "idea": made.idea,
        "author": made.author,
        "model": made.model,
        "status": run.status.value if run is not None else "not run yet",
    }
    if run is not None and run.reason:
        told["reason"] = run.reason
    if one is not None:
        told["standing"] = one.standing
        for name, belief in one.estimates.items():
            told[name] = belief.mean
            told[f"{name} blocks"] = belief.n
    return told | {f"knob {name}": value for name, value in odd.items()}


def _params(
    knobs: tuple[Knob, ...], spaces: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Values and ranges of the knobs that have the range that the study knows; the values of the others."""
    params, here, odd = {}, {}, {}
    for knob in knobs:
        space = _space(knob)
        known = spaces.setdefault(knob.name, space)
        if known == space and knob.holds(knob.value):
            params[knob.name], here[knob.name] = knob.value, space
        else:  # an edit gave it another range: a study has one a name
            odd[knob.name] = knob.value
    return params, here, odd


def _space(knob: Knob) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if knob.kind is KnobKind.CHOICE:
        return CategoricalDistribution(knob.choices)
    log = knob.kind is KnobKind.LOG
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=log)
    return FloatDistribution(float(knob.low), float(knob.high), log=log)
