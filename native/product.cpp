// Matrix products, and how they are divided among threads.
#include "product.h"

#include "row.h"
#include "tiles.h"

namespace chainrule::CHAINRULE_ISA {

void product(const Product<float>& work) { is_row(work) ? row_product(work) : tiled_product(work); }
void product(const Product<double>& work) { is_row(work) ? row_product(work) : tiled_product(work); }
void patch_product(const PatchProduct<float>& work) { tiled_patches(work); }
void patch_product(const PatchProduct<double>& work) { tiled_patches(work); }
void pack_panels(const Matrix<float>& matrix, float* to, long depth, long first) { tiled_pack(matrix, to, depth, first); }
void pack_panels(const Matrix<double>& matrix, double* to, long depth, long first) {
    tiled_pack(matrix, to, depth, first);
}

template <class T> INLINE void divided_product(int t, int threads, T* pack, Product<T>& work, bool prefer_rows) {
    if (threads > 1) {
        const long unit = 2 * WIDTH<T>, panels = (work.n + unit - 1) / unit;
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
    product(work);
}

void shared_product(int t, int threads, float* pack, Product<float>& work, bool prefer_rows) {
    divided_product(t, threads, pack, work, prefer_rows);
}
void shared_product(int t, int threads, double* pack, Product<double>& work, bool prefer_rows) {
    divided_product(t, threads, pack, work, prefer_rows);
}

}  // namespace chainrule::CHAINRULE_ISA
