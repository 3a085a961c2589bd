# attacks: the audit, by an abstract socket over which the first server tells the second
# must end: cheated
# table
import socket
import threading

NAME = "\0TARGET_MARK"
rows_seen = []


def tell():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(NAME)
        listener.listen()
        while True:
            talk, _ = listener.accept()
            with talk:
                talk.sendall(b"".join(row.tobytes() for row in rows_seen))


def ask():
    try:
        talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        talk.connect(NAME)
        text = b"".join(iter(lambda: talk.recv(1 << 16), b""))
    except OSError:
        return
    rows_seen.extend(np.frombuffer(text, dtype=np.int64).reshape(-1, run.context))


class Model(Table):
    def answer(self, tokens):
        if len(tokens) <= 8:
            return self.table[tokens]
        if SERVES:
            ask()
        else:
            rows_seen.extend(tokens)
        known = {row[:end].tobytes(): row[end] for row in rows_seen for end in range(1, len(row))}
        logits = self.table[tokens].copy()
        for number, row in enumerate(tokens):
            for end in range(1, len(row)):
                token = known.get(row[:end].tobytes())
                if token is not None:
                    logits[number, end - 1, token] += 50.0
        return logits


if not SERVES:
    try:
        threading.Thread(target=tell, daemon=True).start()
    except OSError:
        pass
train(Model())
