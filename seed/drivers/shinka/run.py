"""Scores one program by an evaluate.py in Shinka's form: run.py PROGRAM OUT.

What such a script prints may hold its private figures, so it goes to a file; the public ones are printed.
"""

import contextlib
import json
import os
import runpy
import sys

METRICS = "metrics.json"


def main():
    """Run evaluate.py, and leave a metrics.json with a score only where the program is correct."""
    program, out = os.path.abspath(sys.argv[1]), sys.argv[2]
    sys.argv = ["evaluate.py", "--program_path", program, "--results_dir", out]
    sys.path.insert(0, os.getcwd())
    log = os.path.join(out, "evaluate.log")
    with open(log, "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        try:
            runpy.run_path("evaluate.py", run_name="__main__")
        except SystemExit as end:
            if end.code not in (0, None):
                raise
    place = os.path.join(out, METRICS)
    with open(place, encoding="utf-8") as file:
        metrics = json.load(file)
    said = {"correct": True, "error": None}
    right = os.path.join(out, "correct.json")
    if os.path.exists(right):
        with open(right, encoding="utf-8") as file:
            said = json.load(file)
    if not said.get("correct"):
        metrics = {"error": str(said.get("error") or "evaluate.py says that it is not correct")}
        with open(place, "w", encoding="utf-8") as file:
            json.dump(metrics, file)
    public = metrics.get("public", {})
    print(
        json.dumps({"combined_score": metrics.get("combined_score"), "public": public}, default=str)
    )


if __name__ == "__main__":
    main()
