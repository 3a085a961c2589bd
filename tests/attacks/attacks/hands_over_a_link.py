# attacks: the hidden text, by handing over a link to some other file as weights
# must end: crashed
# table
class Model(Table):
    def save(self, path):
        os.remove(run.spec["weights"])
        os.symlink("/proc/self/environ", run.spec["weights"])


train(Model())
