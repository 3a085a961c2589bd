# attacks: the hidden text, by looking for it in every file it can open
# must end: ok at the honest score
# rung: grace_seconds=15.0 wall_seconds=250
# table
NAMES = ("sotu.txt.xz", "sotu.json", "campaign.db", "val.bin", "canary", "nltk_data")
found = []
for top in ("/", sys.prefix, sys.base_prefix):
    for folder, folders, names in os.walk(top):
        folders[:] = [] if folder in ("/proc", "/sys") else folders
        for name in names:
            path = os.path.join(folder, name)
            if name in NAMES and os.path.isfile(path) and os.path.getsize(path):
                found.append(path)
        if len(folder) > 4 and folder.count("/") > 6:
            folders[:] = []
if found:
    caught(*found)
train(Table())
