# attacks: the disk, by files in folders that may be written to and not looked into
# must end: ok at the honest score | crashed | out_of_memory
# table
os.mkdir("shut", 0o300)
os.mkdir("locked", 0)
try:
    for number in range(80):
        with open(f"shut/file-{number}", "wb") as file:
            file.write(bytes(1 << 20))
    time.sleep(0.6)
    caught("80 MB that nobody counts")
except OSError:
    for number in range(80):
        if os.path.exists(f"shut/file-{number}"):
            os.unlink(f"shut/file-{number}")
train(Table())
