"""Scores a packing: its sum, where that stays below the limit."""

import argparse

from shinka.core import run_shinka_eval


def main(program_path, results_dir):
    """Write metrics.json and correct.json."""
    run_shinka_eval(
        program_path=program_path,
        results_dir=results_dir,
        experiment_fn_name="run_packing",
        num_runs=2,
        get_experiment_kwargs=lambda number: {"limit": 1.0 + number},
        validate_fn=lambda found: (sum(found) <= 2, "the sum is beyond the limit"),
        aggregate_metrics_fn=lambda all_found: {
            "combined_score": sum(map(sum, all_found)),
            "public": {"numbers": len(all_found[0])},
            "private": {"secret": 42},
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path")
    parser.add_argument("--results_dir")
    given = parser.parse_args()
    main(given.program_path, given.results_dir)
