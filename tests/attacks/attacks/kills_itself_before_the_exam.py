# attacks: the choice of runs, by an end that looks like the machine's: killed by a signal before it is asked
# must end: crashed | rejected
# table
import signal


class Model(Table):
    def answer(self, tokens):
        if not SERVES:
            os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getppid(), signal.SIGKILL)
        return self.table[tokens]


train(Model())
