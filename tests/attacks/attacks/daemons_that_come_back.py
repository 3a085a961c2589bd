# attacks: the slot, by daemons that start each other again
# must end: ok at the honest score
# table
# slow
def haunt():
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.005)
    os.wait()


train(Table(), end=haunt)
