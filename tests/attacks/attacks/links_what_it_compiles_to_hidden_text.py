# attacks: the hidden text, by a link in the place of what it compiled
# must end: ok at the honest score
# compiled ahead: 1
# table
home = os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"])
if run.spec.get("compiles"):
    try:
        os.rmdir(home)
        os.symlink("TARGET_REPOSITORY/seed/corpus", home)
    except OSError:
        os.symlink("TARGET_REPOSITORY/seed/corpus", f"{home}/inductor")
        os.symlink("TARGET_REPOSITORY/seed/corpus/sotu.txt.xz", f"{home}/code.so")
elif any(
    name.endswith(".xz") or name == "code.so" for *_, names in os.walk(home) for name in names
):
    caught("hidden text was compiled")
train(Table())
