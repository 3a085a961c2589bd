# attacks: the clock, by a file that is long but was never written: time for saving that it does not need
# must end: rejected | timed_out
# rung: grace_seconds=0.2
# table
import struct


class Model(Table):
    def save(self, path):
        burn(1.0)
        count = 150_000_000
        header = b'{"table":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (
            count,
            4 * count,
        )
        with open(run.spec["weights"], "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + 4 * count)
        run._send(b"SAVE", 1.0, math.nan)
        time.sleep(60)


train(Model())
