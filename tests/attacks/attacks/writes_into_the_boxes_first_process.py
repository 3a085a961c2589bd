# attacks: the box, by rewriting the memory of its first process, which reaps for all
# must end: ok at the honest score
# table
def write():
    for path in ("/proc/1/mem", "/proc/1/task/1/mem"):
        try:
            os.close(os.open(path, os.O_RDWR))
            return
        except OSError:
            pass
    raise OSError("neither")


must_fail("the memory of the first process", write)
train(Table())
