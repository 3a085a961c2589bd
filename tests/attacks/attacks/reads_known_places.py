# attacks: the hidden text, the store and the keys, by their paths
# must end: ok at the honest score
# slow
# table
for path in (
    "TARGET_CANARY",
    "TARGET_REPOSITORY/seed/corpus/sotu.txt.xz",
    "TARGET_REPOSITORY/pyproject.toml",
):
    must_fail(path, lambda path=path: open(path).close())
for path in ("/home", "/mnt", "/etc/passwd", "TARGET_WORKSPACES"):
    must_fail("list " + path, lambda path=path: os.listdir(path) or os.stat("/nowhere"))
train(Table())
