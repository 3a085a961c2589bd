"""A campaign taken to other tools: tables, an Optuna study, experiment trackers."""
