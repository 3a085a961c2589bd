# attacks: the audit, by system calls of another machine's numbers, through the gate for programs of 32 bits
# must end: ok at the honest score
# table
import ctypes
import mmap
import platform

# getpid has the number 20 there, and 39 is what the filter knows it by.
CODE = b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3"
if platform.machine() == "x86_64":
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=7)
    page.write(CODE)
    gate = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        if gate() == os.getpid():
            os.write(write, b"through")
        os._exit(0)
    os.close(write)
    if os.read(read, 16):
        caught("a call of 32 bits")
    os.waitpid(child, 0)
train(Table())
