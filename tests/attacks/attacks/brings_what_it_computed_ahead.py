# attacks: the clock, by a big table computed ahead of it and called compiled code
# must end: ok at the honest score
# compiled ahead: 1
# table
home = os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"])
if run.spec.get("compiles"):
    with open(f"{home}/kernel.so", "wb") as file:
        file.write(os.urandom(1 << 20))
elif os.path.exists(f"{home}/kernel.so"):
    caught("a megabyte came along")
train(Table())
