# attacks: the audit, by state in compiled code that its servers would find
# must end: ok at the honest score
# compiled ahead: 1
# table
home = os.path.dirname(os.environ["TORCHINDUCTOR_CACHE_DIR"])
os.makedirs(home, exist_ok=True)
if SERVES and os.listdir(home):
    caught("a server finds", *os.listdir(home))
with open(f"{home}/{run.spec['role']}-{'compiles' in run.spec}.py", "w") as file:
    file.write("# state")
train(Table())
