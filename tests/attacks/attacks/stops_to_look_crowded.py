# attacks: its luck, by stopping itself, so that the machine looks busy and an unlucky run does not count
# must end: ok at the honest score
# slow
# table
import signal


def stop():
    parent = os.getpid()
    if os.fork() == 0:
        time.sleep(1.5)
        os.kill(parent, signal.SIGCONT)
        os._exit(0)
    os.kill(parent, signal.SIGSTOP)
    os.wait()


train(Table(), end=stop)
