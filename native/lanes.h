// Numbers of as many samples as a vector has lanes: each lane is another sample. For samples whose
// own numbers would not fill a vector.
#pragma once

#include <type_traits>

#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

// Numbers that `size` vectors take, in whole squares of vectors.
template <class T> INLINE long room_for(long size) { return (size + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T> * WIDTH<T>; }

// Calls put(k, vector) for each number k of a sample, with that number of the samples from `sample` on;
// lanes beyond the last one are 0. A sample has `size` numbers.
template <class T, class F> INLINE void to_lanes(const T* from, long sample, long samples, long size, F put) {
    constexpr long W = WIDTH<T>;
    const long count = samples - sample < W ? samples - sample : W;
    alignas(64) T rows[W * W] = {};
    Vec<T> columns[W];
    for (long k = 0; k < size; k += W) {
        const T* at = from + sample * size + k;
        if (count == W) load_transposed(at, size, columns);
        else {
            for (long s = 0; s < count; ++s) store(rows + s * W, load(at + s * size));
            load_transposed(rows, W, columns);
        }
#pragma GCC unroll 16
        for (long j = 0; j < W; ++j) put(k + j, columns[j]);
    }
}

// Writes numbers from `first` on, `count` of each sample, which are in `lanes`.
template <class T>
INLINE void from_lanes(const T* lanes, long first, long count, T* to, long sample, long samples, long size) {
    constexpr long W = WIDTH<T>;
    const long here = samples - sample < W ? samples - sample : W;
    Vec<T> rows[W];
    for (long k = 0; k < count; k += W) {
        load_transposed(lanes + k * W, W, rows);
        T* const at = to + sample * size + first + k;
        for (long s = 0; s < here; ++s)
            if (count - k >= W) store(at + s * size, rows[s]);
            else store_part(at + s * size, rows[s], count - k);
    }
}

// The sum of each vector's lanes: two vectors become one, which holds half as many sums of each in
// turns, until all are in one.
template <class T, int COUNT> INLINE void sums_of(const Vec<T>* vectors, T* to) {
    constexpr int W = WIDTH<T>;
    using Lane = std::make_index_sequence<size_t(W)>;
#pragma GCC unroll 8
    for (int first = 0; first < COUNT; first += W) {
        const int here = COUNT - first < W ? COUNT - first : W;
        Vec<T> sums[W] = {};
        for (int i = 0; i < here; ++i) sums[i] = vectors[first + i];
#pragma GCC unroll 4
        for (int half = W / 2; half > 0; half /= 2)
#pragma GCC unroll 8
            for (int i = 0; i < half; ++i)
                sums[i] = interleaved<T, false>(sums[i], sums[i + half], Lane{}) +
                          interleaved<T, true>(sums[i], sums[i + half], Lane{});
        store_part(to + first, sums[0], here);
    }
}

// Calls f(size, first) for pieces of the range, of at most MOST; `size` is a constant.
template <int MOST, class F> INLINE void in_pieces(long from, long to, F f) {
    for (; to - from >= MOST; from += MOST) f(std::integral_constant<int, MOST>{}, from);
    if constexpr (MOST > 1) if (from < to) in_pieces<MOST - 1>(from, to, f);
}

// For each of some positions, which pairs of others meet there.
struct Meetings {
    const int64_t *first, *pairs;  // those of position k are from first[k] on, to first[k + 1]
    template <class F> INLINE void at(long k, F f) const {
        for (int64_t at = first[k]; at < first[k + 1]; ++at) f(pairs[2 * at], pairs[2 * at + 1]);
    }
};

}  // namespace chainrule::CHAINRULE_ISA
