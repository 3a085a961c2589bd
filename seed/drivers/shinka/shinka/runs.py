"""Runs a program's function, checks each result, joins them, and writes metrics.json and correct.json."""

import importlib.util
import json
import os
import statistics
import time


def run_shinka_eval(
    program_path,
    results_dir,
    experiment_fn_name,
    num_runs,
    get_experiment_kwargs=None,
    aggregate_metrics_fn=None,
    validate_fn=None,
    default_metrics_on_error=None,
    **others,
):
    """Metrics, whether all results were valid, and the first error.

    `others`, such as early stopping and workers, is unused.
    """
    results, seconds, errors, metrics = [], [], [], {}
    try:
        spec = importlib.util.spec_from_file_location("program", program_path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        experiment = getattr(module, experiment_fn_name)
        for number in range(num_runs):
            given = get_experiment_kwargs(number) if get_experiment_kwargs else {"seed": number + 1}
            began = time.perf_counter()
            results.append(experiment(**given))
            seconds.append(time.perf_counter() - began)
            valid, why = validate_fn(results[-1]) if validate_fn else (True, None)
            if not valid:
                errors.append(f"Validation failed: {why}" if why else "Validation failed")
        if aggregate_metrics_fn:
            metrics = aggregate_metrics_fn(results)
        metrics["execution_time_mean"] = statistics.fmean(seconds) if seconds else 0.0
    except Exception as error:
        metrics = dict(default_metrics_on_error or {"combined_score": 0.0})
        errors.insert(0, f"{type(error).__name__}: {error}")
    metrics.pop("extra_data", None)
    error = errors[0] if errors else None
    os.makedirs(results_dir, exist_ok=True)
    for name, what in (("correct", {"correct": not errors, "error": error}), ("metrics", metrics)):
        with open(os.path.join(results_dir, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(what, file, default=_plain)
    return metrics, not errors, error


def _plain(value):
    """A number or list for what JSON does not know, such as an array."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
