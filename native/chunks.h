// Chunks of the rows of a value: what is summed over all rows is summed chunk by chunk, and then over
// the chunks, in the same order for any number of threads.
#pragma once

#include "share.h"

namespace chainrule {

// A chunk stays in a core's cache. It has whole samples (a group of them) or a part of one.
struct Chunks {
    static constexpr long ROWS = 256;
    long rows;  // of a sample

    INLINE long together() const { return rows < ROWS ? ROWS / rows : 1; }  // samples of a group
    INLINE long of_group() const { return (rows * together() + ROWS - 1) / ROWS; }
    INLINE long groups(long samples) const { return (samples + together() - 1) / together(); }
    INLINE long count(long samples) const { return groups(samples) * of_group(); }
    INLINE Range samples_of(long group, long samples) const {
        const long from = group * together(), to = from + together();
        return {from, to < samples ? to : samples};
    }
    INLINE Range rows_of(long chunk, long samples) const {
        const Range group = samples_of(chunk / of_group(), samples);
        const long from = group.from * rows + chunk % of_group() * ROWS, end = group.to * rows;
        return {from, from + ROWS < end ? from + ROWS : end};
    }
};

}  // namespace chainrule
