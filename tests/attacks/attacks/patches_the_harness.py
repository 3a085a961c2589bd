# attacks: the metric, by replacing what the harness says and how it scores
# must end: ok at the honest score
# table
harness._summary = lambda run, model: print("val_bpb: 0.0")
harness.math.log = lambda value: 1e-9
harness.CURVE_STEP = 1e-9
plain = harness.Run._send


def lie(self, kind, done, loss):
    plain(self, kind, done, 1e-6 if loss == loss else loss)


harness.Run._send = lie
train(Table())
