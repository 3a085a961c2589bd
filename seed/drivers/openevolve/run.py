"""Scores one program by an evaluator.py in OpenEvolve's form: run.py PROGRAM OUT THRESHOLDS (JSON, or null).

What counts is what such an evaluator expects: stages one after another while their score reaches the
threshold, `combined_score` where there is one, else the mean of the numbers.
"""

import importlib.util
import json
import math
import os
import sys


def load(path):
    """The evaluator as a module, with its folder to import from."""
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location("evaluator", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluator"] = module
    spec.loader.exec_module(module)
    return module


def numbers(metrics, leave_out=()):
    """The figures of an answer: no truth values, nothing that is not a number."""
    found = {}
    for name, value in metrics.items():
        if name in leave_out or isinstance(value, bool):
            continue
        try:
            number = float(value) if not isinstance(value, (str, bytes)) else math.nan
        except (TypeError, ValueError, OverflowError):
            continue
        if not math.isnan(number):
            found[str(name)] = number
    return found


def score(metrics, leave_out=()):
    """`combined_score`, else the mean of the numbers; None where there are none."""
    found = numbers(metrics)
    if "combined_score" in found:
        return found["combined_score"]
    found = numbers(metrics, leave_out)
    return sum(found.values()) / len(found) if found else None


def asked(stage, program):
    """A stage's metrics; what it returns beside them is printed."""
    answer = stage(program)
    artifacts = {} if isinstance(answer, dict) else getattr(answer, "artifacts", None) or {}
    for name, value in artifacts.items():
        print(f"{name}: {value}"[:2000])
    return answer if isinstance(answer, dict) else answer.metrics


def evaluated(module, program, thresholds):
    """The metrics of the last stage that was reached, with those of the stages before it."""
    stages = [getattr(module, f"evaluate_stage{n}", None) for n in (1, 2, 3)]
    if thresholds is None or stages[0] is None:
        return asked(module.evaluate, program)
    metrics = asked(stages[0], program)
    for number, stage in enumerate(stages[1:]):
        reached = score(metrics, ("error",))
        over = number >= len(thresholds) or reached is None or reached < thresholds[number]
        if over or stage is None:
            break
        metrics = {**numbers(metrics, ("error",)), **numbers(asked(stage, program), ("error",))}
    return metrics


def main():
    """Write OUT/metrics.json."""
    program, out, thresholds = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    metrics = evaluated(load(os.path.abspath("evaluator.py")), os.path.abspath(program), thresholds)
    told = numbers(metrics)
    combined = score(metrics)
    if combined is None:
        told["error"] = "the evaluator returned no number"
    else:
        told["combined_score"] = combined
    errors = [
        str(value) for name, value in metrics.items() if name == "error" and isinstance(value, str)
    ]
    if errors:
        print(f"error: {errors[0]}"[:2000])
    with open(os.path.join(out, "metrics.json"), "w", encoding="utf-8") as file:
        json.dump(told, file)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
