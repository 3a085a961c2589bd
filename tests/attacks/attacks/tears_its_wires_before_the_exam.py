# attacks: the choice of runs, by breaking what it is asked through, so that whoever asks fails and it is lost
# must end: rejected | crashed
# table
# slow
import fcntl


class Model(Table):
    def answer(self, tokens):
        """At the first harmless rows: it knows nothing yet but what training came to."""
        for fd in range(3, 64):
            for action in (
                lambda: os.ftruncate(fd, 0),
                lambda: fcntl.fcntl(fd, 1033, 0xF),
                lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK),
                lambda: os.close(fd),
            ):
                try:
                    action()
                except OSError:
                    continue
        return self.table[tokens]


train(Model())
