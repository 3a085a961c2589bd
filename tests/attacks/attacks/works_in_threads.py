# attacks: the clock, by threads that work without the interpreter's lock
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
# slow
import hashlib
import threading


def hire():
    work = lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


train(Table(), end=hire)
