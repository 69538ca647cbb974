// Texts that are continued: each of their new positions is a sample, text by text.
#pragma once

#include "operation.h"

namespace chainrule::CHAINRULE_ISA {

// How many texts are continued; 0: none, samples are whole.
template <class T> INLINE long texts_of(const Record<T>& r) { return r.has("texts") ? long(r.number("texts")) : 0; }

// The position of a sample in its text. The pass's step is the number of positions that are known.
template <class T> INLINE long position(const Pass<T>& p, long sample, long texts) {
    const long count = p.samples / texts;  // 0: there are too few samples, which is reported elsewhere
    return long(p.step) + (count ? sample % count : 0);
}

}  // namespace chainrule::CHAINRULE_ISA
