# attacks: the audit, by the times of last access, which change when a file, a link or a folder is read
# must end: ok at the honest score
# open in: landlock
# table
LIBRARY = os.path.dirname(np.__file__)
LINK = next((path for path in (sys.executable, "/lib", "/bin") if os.path.islink(path)), None)


def times():
    found = []
    for path in (np.__file__, os.path.realpath(sys.executable), run.spec["data"][0], LIBRARY, "/"):
        here = os.stat(path)
        found.append((here.st_atime_ns, here.st_ctime_ns, here.st_nlink, here.st_blocks))
    if LINK:
        found.append(os.lstat(LINK).st_atime_ns)
    return found


before = times()
for _ in range(3):
    for path in (np.__file__, os.path.realpath(sys.executable), run.spec["data"][0]):
        with open(path, "rb") as file:
            file.read(4096)
    for folder in (LIBRARY, "/"):
        try:
            os.listdir(folder)
        except OSError:
            continue
    if LINK:
        os.readlink(LINK)
    time.sleep(0.01)
if times() != before:
    caught("when it was read")
train(Table())
