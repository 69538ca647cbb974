// The nearest semi-orthogonal matrix by Newton-Schulz iterations, for Muon (Jordan et al., 2024).
#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "products.h"

namespace chainrule {

template <class T> class Orthogonalizer {
  public:
    // Allocates scratch for matrices of up to `numbers` entries whose shorter side is at most
    // `shorter`.
    void finish(long numbers, long shorter, int threads) {
        next_.resize(size_t(numbers + PADDING));
        square_.resize(size_t(shorter * shorter + PADDING));
        polynomial_.resize(size_t(shorter * shorter + PADDING));
        packs_.resize(size_t(threads));
        for (auto& pack : packs_) pack.resize(PACK + PADDING);
    }

    // Orthogonalizes x, of shape (rows, columns), in place and scales it by sqrt(max(1, columns /
    // rows)). All threads call it together; a barrier must follow before another thread's share of
    // x is read.
    void operator()(const Kernels<T>& kernels, T* x, long rows, long columns, int iterations, double epsilon, int t,
                    Barrier& barrier) {
        const int threads = int(packs_.size());
        const long size = rows * columns, shorter = std::min(rows, columns);
        if (!size) return;
        const Range own_range = share(size, MAX_LANES, t, threads);
        const Range square = share(shorter * shorter, MAX_LANES, t, threads);
        const T norm = T(std::sqrt(kernels.dot(size, x, x)));
        const auto times = [&](Range r, T factor, const T* from, T* to) {
            StageWork<T> work;
            work.kind = StageKind::scale;
            work.n[0] = factor;
            kernels.stage(work, r.count(), from + r.from, to + r.from, nullptr);
        };
        barrier.wait();  // until every thread has computed the norm of x
        for (long i = own_range.from; i < own_range.to; ++i) x[i] /= norm + T(epsilon);
        T *now = x, *next = next_.data(), *s = square_.data(), *polynomial = polynomial_.data();
        const auto product = [&](long m, long n, long k, const T* a, long a_row, long a_column, const T* b, long b_row,
                                 long b_column, T* c) {
            barrier.wait();
            Product<T> work{m, n, k, a, a_row, a_column, b, b_row, b_column, c, n};
            work.whole = false;
            parallel_product(kernels, t, threads, packs_[size_t(t)].data(), work);
        };
        for (int i = 0; i < iterations; ++i, std::swap(now, next)) {
            // With the shorter side first: s = x x^T, x <- (3.4445 I - 4.775 s + 2.0315 s s) x
            if (rows > columns) product(shorter, shorter, rows, now, 1, columns, now, columns, 1, s);
            else product(shorter, shorter, columns, now, columns, 1, now, 1, columns, s);
            product(shorter, shorter, shorter, s, shorter, 1, s, shorter, 1, polynomial);
            barrier.wait();
            for (long k = square.from; k < square.to; ++k)
                polynomial[k] = T(2.0315) * polynomial[k] - T(4.7750) * s[k] + (k % (shorter + 1) ? T(0) : T(3.4445));
            if (rows > columns) product(rows, columns, shorter, now, columns, 1, polynomial, shorter, 1, next);
            else product(rows, columns, shorter, polynomial, shorter, 1, now, columns, 1, next);
        }
        barrier.wait();
        times(own_range, T(std::sqrt(std::max(1.0, double(columns) / double(rows)))), now, x);
    }

  private:
    AlignedVector<T> next_, square_, polynomial_;
    std::vector<AlignedVector<T>> packs_;
};

}  // namespace chainrule
