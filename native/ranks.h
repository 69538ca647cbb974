// The other processes of a training ("ranks"), each of which takes its share of every mini-batch.
#pragma once

#include "share.h"
#include "threads.h"

namespace chainrule {

// What they tell each other: called on the first thread of each rank, or by all its threads, by all
// ranks in the same order. What they add up has one order, that of the ranks, so all get the same bits.
struct Ranks {
    int rank = 0, count = 1;

    virtual ~Ranks() = default;
    // Replaces numbers by their sums over all ranks; `agree` does it until `finish`.
    virtual void add(double* numbers, long count) = 0;
    virtual void agree(double* numbers, long count) = 0;
    // Begins to add up the next part of the gradient, which is finished here.
    virtual void start(void* numbers, long count) = 0;
    // Lets what was begun go on.
    virtual void progress() = 0;
    // By all threads: waits for it. `gradient`, where it was begun unless that was memory that all
    // ranks see, then has the sums of this rank's share of every part, or all of them if `whole`.
    virtual void finish(void* gradient, bool whole, int t, Barrier& barrier) = 0;
    // By all threads: gives all ranks the others' shares of a vector; false, on the first thread, if
    // something is not good on one of them.
    virtual bool gather(void* numbers, bool good, int t, Barrier& barrier) = 0;

    // The rows of a mini-batch that this rank takes, and its share of a part of the parameters.
    Range own(long samples) const { return share(samples, 1, rank, count); }
    Range own(Range part) const { return of(rank, part); }
    Range of(int rank, Range part) const {
        return {part.from + part.count() * rank / count, part.from + part.count() * (rank + 1) / count};
    }
    // Whether the gradient is so small that each rank should add up all of it, and take the whole step,
    // instead of its share.
    bool is_small(long parameters) const { return parameters * count <= 1L << 16; }
};

// A part of the parameters, and the operation whose backward pass finishes its gradient.
struct RanksPart {
    Range range;
    long step;
};

}  // namespace chainrule
