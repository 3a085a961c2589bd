# attacks: the machine, by writing, changing and removing what is not its own
# must end: ok at the honest score
# table
places = (
    "/",
    "/usr",
    "/etc",
    "/code",
    "/data",
    "/proc",
    "/dev",
    "/var/tmp",
    sys.prefix,
)
if not "TARGET_REPOSITORY".startswith(
    "/tmp/"
):  # /tmp is the box's own: what is made there stays there
    places += ("TARGET_REPOSITORY",)
for place in places:
    must_fail("write in " + place, lambda: open(place + "/TARGET_MARK-file", "w").close())
    must_fail("make in " + place, lambda: os.mkdir(place + "/TARGET_MARK-folder"))


def changed(path, change):
    """What counts is what is there afterwards: a box may say that it worked, and do nothing."""
    before = os.stat(path)
    change()
    after = os.stat(path)
    if (before.st_mode, before.st_mtime) == (after.st_mode, after.st_mtime):
        raise OSError(0, "nothing changed")


for path in (
    __file__,
    harness.__file__,
    "TARGET_CANARY",
    sys.executable,
    os.path.realpath(sys.executable),
):
    must_fail("append to " + path, lambda: open(path, "a").close())
    must_fail("chmod " + path, lambda: changed(path, lambda: os.chmod(path, 0o707)))
    must_fail("utime " + path, lambda: changed(path, lambda: os.utime(path, (1, 1))))
    must_fail("remove " + path, lambda: os.remove(path))
    must_fail("truncate " + path, lambda: os.truncate(path, 0))
    must_fail("link " + path, lambda: os.link(path, "TARGET_MARK-link"))
train(Table())
