# attacks: the evaluator, by as many compiled files with odd names as may come along
# must end: ok at the honest score
# compiled ahead: 1
# table
home = os.fsencode(os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
names = [b"-- \n\xff<%d>" % number for number in range(511)]
if run.spec.get("compiles"):
    for name in names:
        open(home + b"/" + name, "w").close()
elif not SERVES:
    print(sorted(os.listdir(home)) == sorted(names), flush=True)
train(Table())
