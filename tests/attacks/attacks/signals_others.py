# attacks: the supervisor, by signals
# must end: ok at the honest score
# table
import signal

must_fail("stop the supervisor", lambda: os.kill(TARGET_PARENT, signal.SIGSTOP))
must_fail("kill a bystander", lambda: os.kill(TARGET_BYSTANDER, signal.SIGKILL))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
train(Table())
