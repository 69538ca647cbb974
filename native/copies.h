// Copies and elementwise sums and products of `count` numbers: unaligned, and without padding.
#pragma once

#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> void copy(long count, const T* from, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(from + k)); });
}

// Gathers rows from anywhere in memory into a matrix.
template <class T> void gather(long rows, long width, const T* const* from, T* to, long ld) {
    for (long i = 0; i < rows; ++i) copy(width, from[i], to + i * ld);
}

template <class T> void add(long count, const T* from, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(to + k) + get(from + k)); });
}

template <class T> void multiply(long count, const T* x, const T* y, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(x + k) * get(y + k)); });
}

}  // namespace chainrule::CHAINRULE_ISA
