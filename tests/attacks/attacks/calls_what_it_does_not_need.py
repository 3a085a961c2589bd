# attacks: the audit, by system calls that no model needs and by old and new ways to make them
# must end: ok at the honest score
# table
import ctypes
import platform

libc = ctypes.CDLL(None, use_errno=True)
X86 = {
    "io_setup": 206,
    "io_uring_setup": 425,
    "add_key": 248,
    "keyctl": 250,
    "shmget": 29,
    "semget": 64,
    "msgget": 68,
    "mq_open": 240,
    "mincore": 27,
    "cachestat": 451,
    "readahead": 187,
    "sync": 162,
    "syncfs": 306,
    "sync_file_range": 277,
    "swapoff": 168,
    "acct": 163,
    "lookup_dcookie": 212,
    "uselib": 134,
    "sysfs": 139,
    "vmsplice": 278,
    "kcmp": 312,
    "modify_ldt": 154,
    "personality": 135,
    "landlock": 444,
    "name_to_handle_at": 303,
    "process_madvise": 440,
    "futex_waitv": 449,
    "futex_wake": 454,
    "statmount": 457,
    "listmount": 458,
    "map_shadow_stack": 453,
    "futex_wait": 455,
    "a call of x32": 0x40000000 | 202,
}
ARM = {
    "io_setup": 0,
    "io_uring_setup": 425,
    "add_key": 217,
    "keyctl": 219,
    "shmget": 194,
    "semget": 190,
    "msgget": 186,
    "mq_open": 180,
    "mincore": 232,
    "cachestat": 451,
    "readahead": 213,
    "sync": 81,
    "syncfs": 267,
    "sync_file_range": 84,
    "kcmp": 272,
    "personality": 92,
    "name_to_handle_at": 264,
    "process_madvise": 440,
    "futex_waitv": 449,
    "futex_wake": 454,
    "statmount": 457,
    "listmount": 458,
}
for name, number in (X86 if platform.machine() == "x86_64" else ARM).items():
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if ctypes.get_errno() not in (1, 38):  # not permitted, or no such call
        caught(name)
train(Table())
