# attacks: the machine, by timers and signals that wait, which belong to no file
# must end: ok at the honest score
# slow
# table
import ctypes
import platform
import resource

CREATE = {"x86_64": 222}.get(platform.machine(), 107)
libc = ctypes.CDLL(None, use_errno=True)
number, made = ctypes.c_int(), 0
event = (ctypes.c_int * 16)(0, 0, 0, 1)  # of no signal
while made < 200_000 and libc.syscall(CREATE, 1, event, ctypes.byref(number)) == 0:
    made += 1
if made >= 20_000 or resource.getrlimit(resource.RLIMIT_SIGPENDING)[1] > 20_000:
    caught(f"{made} timers")
train(Table())
