// How a matrix product is divided among threads: along its columns if there are enough, otherwise
// along its rows.
#pragma once

#include "kernels.h"
#include "threads.h"

namespace chainrule {

// Computes thread t's share of a product with its own scratch. With `prefer_rows` it is divided
// along the rows if possible: for a weight's gradient, because the optimizer's step is divided
// that way, too, and each core then finds its share in its own cache.
template <class T>
void parallel_product(const Kernels<T>& kernels, int t, int threads, T* pack, Product<T>& work,
                      bool prefer_rows = false) {
    if (threads > 1) {
        const long unit = 2 * kernels.width, panels = (work.n + unit - 1) / unit;
        const bool by_rows = prefer_rows && work.m >= 32 * threads;
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
