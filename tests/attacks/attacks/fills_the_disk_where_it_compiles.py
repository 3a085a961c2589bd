# attacks: the disk, by a big file where what is compiled is kept
# must end: ok at the honest score
# compiled ahead: 1
# table
if run.spec.get("compiles"):
    with open(os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"]) + "/big.so", "wb") as file:
        for _ in range(400):
            file.write(bytes(1 << 20))
            time.sleep(0.01)
train(Table())
