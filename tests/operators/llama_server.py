"""Serves a model file on loopback until its parent ends: `python llama_server.py MODEL PORT`.

Run by the Python of the virtual environment that `make test-llm` makes.
"""

from __future__ import annotations

import os
import sys
import time

import xllamacpp

model, port = sys.argv[1:]
parent = os.getppid()
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = model, {"smollm2"}
params.n_ctx, params.n_parallel, params.n_gpu_layers = 8192, 1, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
params.hostnames, params.port = ["127.0.0.1"], int(port)
server = xllamacpp.Server(params)  # answers while it lives
while os.getppid() == parent:
    time.sleep(0.5)
