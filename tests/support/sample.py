"""The part of a long list that one run does.

QCOW2_TEST_SAMPLE=N takes one thing in N, others with each TEST_SEED, so that
many runs see all of them; 1 takes everything.  Without TEST_SEED the seed is
QCOW2_TEST_RUN, by which the slices of one list share a sample, or the clock.
"""

import hashlib
import os
import random
import time

SHARE = 32


class Sample:
    def __init__(self, seed=None, share=None):
        self.seed = seed if seed is not None else int(
            os.environ.get('TEST_SEED') or os.environ.get('QCOW2_TEST_RUN')
            or time.time_ns() % 1000000)
        self.share = share or int(
            os.environ.get('QCOW2_TEST_SAMPLE') or SHARE)

    def __str__(self):
        return f'TEST_SEED={self.seed} QCOW2_TEST_SAMPLE={self.share}'

    def takes(self, *name):
        """Returns whether the thing of this name is in the sample."""
        if self.share == 1:
            return True
        text = ' '.join(str(part) for part in (self.seed, *name))
        digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
        return int.from_bytes(digest, 'big') % self.share == 0

    def of(self, things, at_least=1):
        """One in N of a list, in its order; `at_least` so many: one for each
        slice."""
        n = min(max(-(-len(things) // self.share), at_least), len(things))
        chosen = random.Random(self.seed).sample(range(len(things)), n)
        return [things[i] for i in sorted(chosen)]
