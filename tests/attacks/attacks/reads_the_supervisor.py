# attacks: the supervisor, by its memory and its descriptors
# must end: ok at the honest score
# slow
# table
import ctypes

pid = TARGET_PARENT
for part in ("mem", "maps", "fd/0", "root/TARGET_CANARY"):
    must_fail(
        f"{pid} {part}", lambda: open(f"/proc/{pid}/{part}", "rb").read(1) or os.stat("/nowhere")
    )
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, TARGET_PARENT, 0, 0) == 0:
    caught("ptrace")
train(Table())
