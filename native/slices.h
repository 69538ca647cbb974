// Gradients of parameters that are few: each slice of a mini-batch has sums of its own, which are then
// added up in their order. So a sample's derivatives are read once, for its input's gradient and for
// that of the parameters, and the result does not depend on the number of threads.
#pragma once

#include <cstring>

#include "operation.h"
#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

constexpr long SLICES = 16;

// A slice's sums: whole vectors.
INLINE long slice_size(long parameters) { return (parameters + MAX_LANES - 1) / MAX_LANES * MAX_LANES; }

// Calls f(samples, gradient) for samples of x, whose gradient it writes and adds that of so many
// parameters to `gradient`.
template <class T, class F> INLINE void in_slices(const Pass<T>& p, const Value<T>& x, long parameters, F f) {
    const long count = x.gradients_shown ? x.chunks().groups(p.samples) : p.samples;
    const Range own = p.share(SLICES, 1);
    for (long slice = own.from; slice < own.to; ++slice) {
        T* const gradient = p.shared + slice * slice_size(parameters);
        std::memset(gradient, 0, size_t(parameters) * sizeof(T));
        const auto add = [&](Range samples) { f(samples, gradient); };
        const Range part{count * slice / SLICES, count * (slice + 1) / SLICES};
        if (x.gradients_shown) p.derive_groups(part, x, add);
        else add(part);
    }
    p.wait();
}

// The sums of all slices, of parameters [from, from + count).
template <class T>
INLINE void add_slices(const Pass<T>& p, long parameters, long from, long count, T* to, long slices = SLICES) {
    const Range own = p.share(count, MAX_LANES);
    const T* const first = p.shared + from + own.from;
    over<T>(own.count(), [=](long k, auto get, auto put) {
        Vec<T> sum = get(first + k);
        for (long slice = 1; slice < slices; ++slice) sum += get(first + slice * slice_size(parameters) + k);
        put(to + own.from + k, sum);
    });
}

// The sums of all slices take the place of the first one's.
template <class T> INLINE void add_slices(const Pass<T>& p, long parameters) {
    add_slices(p, parameters, 0, parameters, p.shared);
}

}  // namespace chainrule::CHAINRULE_ISA
