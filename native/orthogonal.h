// The orthogonal matrix nearest to another, by Newton-Schulz iterations: what Muon steps along.
#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "products.h"

namespace chainrule {

template <class T> class Orthogonalizer {
  public:
    // Room for matrices of up to so many numbers, whose shorter side has up to `shorter`.
    void finish(long numbers, long shorter, int threads) {
        next_.resize(size_t(numbers + ROOM));
        square_.resize(size_t(shorter * shorter + ROOM));
        mixed_.resize(size_t(shorter * shorter + ROOM));
        packs_.resize(size_t(threads));
        for (auto& pack : packs_) pack.resize(PACK + ROOM);
    }

    // x, of `rows` by `columns`, becomes orthogonal, times the root of columns / rows where it is wider than high. All
    // threads call it together; those after it may be read by any of them.
    void operator()(const Kernels<T>& kernels, T* x, long rows, long columns, int iterations, double epsilon, int t,
                    Barrier& barrier) {
        const int threads = int(packs_.size());
        const long size = rows * columns, shorter = std::min(rows, columns);
        if (!size) return;
        const Range mine = share(size, MOST_LANES, t, threads), square = share(shorter * shorter, MOST_LANES, t, threads);
        const T norm = T(std::sqrt(kernels.dot(size, x, x)));
        const auto times = [&](Range r, T factor, const T* from, T* to) {
            StageWork<T> work;
            work.kind = StageKind::scale;
            work.n[0] = factor;
            kernels.stage(work, r.count(), from + r.from, to + r.from, nullptr);
        };
        barrier.wait();  // everyone has read the norm
        for (long i = mine.from; i < mine.to; ++i) x[i] /= norm + T(epsilon);
        T *now = x, *next = next_.data(), *s = square_.data(), *mixed = mixed_.data();
        const auto product = [&](long m, long n, long k, const T* a, long a_row, long a_column, const T* b, long b_row,
                                 long b_column, T* c) {
            barrier.wait();
            Product<T> work{m, n, k, a, a_row, a_column, b, b_row, b_column, c, n};
            work.whole = false;
            divided(kernels, t, threads, packs_[size_t(t)].data(), work);
        };
        for (int i = 0; i < iterations; ++i, std::swap(now, next)) {
            // s = the shorter side's products with itself; now (3.4445 I - 4.775 s + 2.0315 s s), from that side
            if (rows > columns) product(shorter, shorter, rows, now, 1, columns, now, columns, 1, s);
            else product(shorter, shorter, columns, now, columns, 1, now, 1, columns, s);
            product(shorter, shorter, shorter, s, shorter, 1, s, shorter, 1, mixed);
            barrier.wait();
            for (long k = square.from; k < square.to; ++k)
                mixed[k] = T(2.0315) * mixed[k] - T(4.7750) * s[k] + (k % (shorter + 1) ? T(0) : T(3.4445));
            if (rows > columns) product(rows, columns, shorter, now, columns, 1, mixed, shorter, 1, next);
            else product(rows, columns, shorter, mixed, shorter, 1, now, columns, 1, next);
        }
        barrier.wait();
        times(mine, T(std::sqrt(std::max(1.0, double(columns) / double(rows)))), now, x);
    }

  private:
    Lines<T> next_, square_, mixed_;
    std::vector<Lines<T>> packs_;
};

}  // namespace chainrule
