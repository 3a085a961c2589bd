# attacks: the machine, by processes that nobody without privileges may look into
# must end: ok at the honest score
# table
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
if libc.prctl(3, 0, 0, 0, 0) != 1:
    caught("what it holds is hidden")
train(Table())
