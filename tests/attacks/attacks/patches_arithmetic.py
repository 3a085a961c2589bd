# attacks: the metric, by patching math and numpy in its own process
# must end: ok at the honest score
# table
# slow
def patch():
    math.log = math.log2 = lambda *values: 0.0
    np.log = np.mean = lambda *values, **more: np.float64(0.0)
    np.isfinite = lambda values: np.ones_like(values, dtype=bool)


train(Table(), end=patch)
