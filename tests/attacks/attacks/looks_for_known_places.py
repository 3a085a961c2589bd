# attacks: the hidden text, the store and the keys, by whether they are there, how large and how old
# must end: ok at the honest score
# open in: landlock
# table
for path in (
    "TARGET_CANARY",
    "TARGET_REPOSITORY/seed/corpus/sotu.txt.xz",
    "TARGET_REPOSITORY/pyproject.toml",
    "/proc/TARGET_PARENT",
):
    must_fail("stat " + path, lambda path=path: os.stat(path))
train(Table())
