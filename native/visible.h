// The softmax of the scores of the keys that a query sees.
#pragma once

#include "functions.h"

namespace chainrule::CHAINRULE_ISA {

// Gives keys that a query does not see the score of a weight of 0, up to whole vectors, and then 0.
template <class T> INLINE void hide(T* row, long seen, long count) {
    const long from = seen / WIDTH<T> * WIDTH<T>;
    const auto hidden = broadcast(-std::numeric_limits<T>::infinity());
    if (from < seen) store(row + from, counted<T>() < T(seen - from) ? load(row + from) : hidden);
    for (long j = from < seen ? from + WIDTH<T> : from; j < count; j += WIDTH<T>) store(row + j, Vec<T>{});
}

// Weights of the keys that a query sees, from their scores times `by`; 0 for the others. The row is
// written in whole vectors. Returns the logarithm of the sum of the exponentials.
template <class T> INLINE T visible_softmax(T* row, long seen, long count, T by) {
    hide(row, seen, count);
    if (!seen) return 0;
    const auto larger = [](Vec<T> a, Vec<T> b) INLINE_LAMBDA { return a > b || a != a ? a : b; };
    Vec<T> tops = load(row), lanes = {};
    for (long j = WIDTH<T>; j < seen; j += WIDTH<T>) tops = larger(load(row + j), tops);
    const T shift = folded<T>(tops, larger) * by;
    for (long j = 0; j < seen; j += WIDTH<T>) {
        const Vec<T> e = exp_of<T>(load(row + j) * by - shift);
        store(row + j, e);
        lanes += e;
    }
    const T sum = sum_of<T>(lanes), times = 1 / sum;
    for (long j = 0; j < seen; j += WIDTH<T>) store(row + j, load(row + j) * times);
    return shift + std::log(sum);
}

// How many keys a query sees, of which `valid` are valid: with `causal` the queries belong to the last
// positions of the keys.
INLINE long visible(long query, long queries, long keys, bool causal, long valid) {
    const long seen = causal ? query + keys - queries + 1 : keys;
    return seen < valid ? seen : valid;
}

// A number of keys from a number of the input.
template <class T> INLINE long valid_keys(T given, long keys) {
    return given >= T(keys) ? keys : given > 0 ? long(given) : 0;
}

}  // namespace chainrule::CHAINRULE_ISA
