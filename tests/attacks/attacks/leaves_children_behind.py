# attacks: the slot, by children that outlive the run
# must end: ok at the honest score
# slow
# table
def leave():
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["TARGET_MARK-sleep", "600"])
            os._exit(0)
        os.wait()


train(Table(), end=leave)
