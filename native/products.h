// How a product is divided among threads: along its columns where there are enough, else along its rows.
#pragma once

#include "kernels.h"
#include "threads.h"

namespace chainrule {

// Thread t's part of a product, done with its own scratch. The gradient of a weight is divided along its rows if it can
// be: the descent is, too, and so each core keeps its part.
template <class T>
void divided(const Kernels<T>& kernels, int t, int threads, T* pack, Product<T>& work, bool rather_by_rows = false) {
    if (threads > 1) {
        const long unit = 2 * kernels.width, panels = (work.n + unit - 1) / unit;
        const bool by_rows = rather_by_rows && work.m >= 32 * threads;
        if (!by_rows && (panels % threads == 0 || panels >= 4 * threads)) {
            const Range r = share(work.n, unit, t, threads);
            work.b += r.from * work.b_column;
            work.c += r.from;
            if (work.sums) work.sums += r.from;
            if (work.bias) work.bias += r.from;
            if (work.slope_of) work.slope_of += r.from;
            work.n = r.count();
        } else {
            const Range r = share(work.m, 2, t, threads);
            if (r.from) work.sums = nullptr;
            if (!work.samples) work.a += r.from * work.a_row;
            else if (work.a_row == 1) work.a_from += r.from;
            else work.samples += r.from;
            work.c += r.from * work.c_row;
            if (work.slope_of) work.slope_of += r.from * work.c_row;
            work.m = r.count();
        }
    }
    work.pack = pack;
    kernels.product(work);
}

}  // namespace chainrule
