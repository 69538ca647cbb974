// The other processes of a training ("ranks"), each of which takes its share of every mini-batch.
#pragma once

#include "share.h"

namespace chainrule {

// What they tell each other: called on the first thread of each rank, by all in the same order. What they
// add up has one order, that of the ranks, so all get the same bits.
struct Ranks {
    int rank = 0, count = 1;

    virtual ~Ranks() = default;
    // Replaces numbers by their sums over all ranks.
    virtual void add(double* numbers, long count) = 0;
    // The same for a part of the gradient that is finished here, `count` numbers: until `finish`.
    virtual void start(void* numbers, long count) = 0;
    // Lets what was started go on.
    virtual void progress() = 0;
    // Waits for all that was started.
    virtual void finish() = 0;

    // The rows of a mini-batch that this rank takes.
    Range own(long samples) const { return share(samples, 1, rank, count); }
};

// A part of the gradient, and the operation whose backward pass finishes it.
struct RanksPart {
    Range range;
    long step;
};

}  // namespace chainrule
