# attacks: the metric, by printing scores like the old scripts did
# must end: ok at the honest score
# table
def lie():
    for name in ("val_bpb", "score", "fitness"):
        print(f"---\n{name}: 0.000001", flush=True)
        print(f"{name}: 0.000001", file=sys.stderr, flush=True)


train(Table(), step=lie, end=lie)
