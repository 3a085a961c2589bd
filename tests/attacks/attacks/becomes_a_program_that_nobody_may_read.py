# attacks: the machine, by memory of a program of its own that may be executed and not read: it shows nothing
# must end: ok at the honest score | crashed | out_of_memory
# rung: memory_mb=250
# table
import subprocess

HOLD = """
import socket, time
held = []
for _ in range(450):
    one, other = socket.socketpair()
    one.setblocking(False)
    held.append((one, other))
    try:
        while one.send(bytes(1 << 17)):
            pass
    except BlockingIOError:
        continue
time.sleep(0.6)
print("GOT THROUGH: 180 MB in sockets")
"""
if not SERVES:
    with open(os.path.realpath(sys.executable), "rb") as file:
        program = file.read()
    fd = os.open("program", os.O_WRONLY | os.O_CREAT, 0o111)
    os.write(fd, program)
    os.close(fd)
    env = {**os.environ, "PYTHONHOME": sys.base_prefix}
    try:
        subprocess.run([os.path.abspath("program"), "-c", HOLD], env=env)
    except OSError:
        pass
train(Table())
