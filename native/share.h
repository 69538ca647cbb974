// Shares of work for threads, and what every file may include, also those that are compiled for one
// instruction set (see operation.h).
#pragma once

#define INLINE inline __attribute__((always_inline))

namespace chainrule {

constexpr long MAX_LANES = 16;
// Readable numbers past the end of every array, whose values are never used.
constexpr long PADDING = 64;

struct Range {
    long from, to;
    INLINE long count() const { return to - from; }
};

// The range that thread `t` works on, in multiples of `unit`.
INLINE Range share(long count, long unit, int t, int threads) {
    if (threads == 1) return {0, count};
    const long units = (count + unit - 1) / unit;
    const long from = units * t / threads * unit, to = units * (t + 1) / threads * unit;
    return {from < count ? from : count, to < count ? to : count};
}

}  // namespace chainrule
