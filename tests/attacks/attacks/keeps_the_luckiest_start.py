# attacks: the blocks, by several short starts of which the luckiest goes on
# must end: ok
# learner
# slow
starts = [Bigram(run.seed + number) for number in range(3)]
losses, loss = [], 0.0
for start in starts:
    while run.progress() < (len(losses) + 1) / 6:
        loss, tokens = start.learn()
        run.report(loss, tokens)
    losses.append(loss)
train(starts[int(np.argmin(losses))])
