// What elementwise stages share.
#pragma once

#include "../functions.h"
#include "../stage.h"

namespace chainrule::CHAINRULE_ISA {

// `Own` defines each(from, n, in, w, emit): it calls emit(k, output, get, put) for index k.
template <class T, class Own> struct Elementwise : Stage<T> {
    void apply(long from, long n, const T* in, T* u, const T* w) const override {
        own().each(from, n, in, w, [u](long k, Vec<T> step, auto, auto put) { put(u + k, step); });
    }
    // Infinity and NaN times 0 are NaN.
    T subtract(long from, long n, T factor, const T* in, T* w) const override {
        Vec<T> check = {};
        own().each(from, n, in, w, [&check, factor, w](long k, Vec<T> step, auto get, auto put) {
            const Vec<T> next = get(w + k) - step * factor;
            put(w + k, next);
            check += next * T(0);
        });
        return sum_of<T>(check);
    }

  private:
    const Own& own() const { return static_cast<const Own&>(*this); }
};

}  // namespace chainrule::CHAINRULE_ISA
