# attacks: the clock, by computing ahead of it in the time that saving weights may take
# must end: ok at the honest score
# compiled ahead: 0.2
# table
home = os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"])
if run.spec.get("compiles"):
    run._send(b"DONE", 1.0, math.nan)
    burn(1.5)
    with open(f"{home}/found.py", "w") as file:
        file.write("# five times what it may take")
elif os.path.exists(f"{home}/found.py"):
    caught("it computed ahead of its clock")
train(Table())
