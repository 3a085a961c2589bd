# attacks: the evaluator, by compiled files whose paths are too long to be read
# must end: ok at the honest score
# compiled ahead: 1
# table
if run.spec.get("compiles"):
    os.chdir(os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
    for _ in range(39):
        open("f" * 250, "w").close()
        os.mkdir("d" * 99)
        os.chdir("d" * 99)
train(Table())
