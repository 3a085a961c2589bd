"""Scores a search, in stages."""

import importlib.util

from openevolve.evaluation_result import EvaluationResult


def _found(path):
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    x, y = program.run()
    return 1 / (1 + x * x + y * y)


def evaluate_stage1(path):
    """Whether it finds anything at all."""
    return {"runs": 1.0, "combined_score": _found(path)}


def evaluate_stage2(path):
    """The mean of ten searches."""
    scores = [_found(path) for _ in range(10)]
    told = {"combined_score": sum(scores) / 10, "worst": min(scores)}
    return EvaluationResult(metrics=told, artifacts={"scores": str(scores)})


def evaluate(path):
    """Both."""
    return evaluate_stage2(path)
