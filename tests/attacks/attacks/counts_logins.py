# attacks: the audit, by logins that it claims: the kernel numbers them for the whole machine
# must end: ok at the honest score
# slow
# table
def log_in():
    with open("/proc/self/loginuid", "w") as file:
        file.write(str(os.getuid()))


must_fail("a login", log_in)
for path in ("/proc/self/sessionid", f"/proc/{os.getpid()}/sessionid"):
    try:
        with open(path) as file:
            if int(file.read()) != 0xFFFFFFFF:
                caught("which login this is")
    except OSError:
        continue
train(Table())
