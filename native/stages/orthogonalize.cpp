// The nearest semi-orthogonal matrix by Newton-Schulz iterations, for Muon (Jordan et al., 2024).
#include "../arithmetic.h"
#include "../product.h"
#include "whole.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Orthogonalize : WholeStage<T> {
    int iterations;
    double epsilon;
    explicit Orthogonalize(const Settings& s) : iterations(int(s.number("iterations"))), epsilon(s.number("epsilon")) {}

    bool is_by_array() const override { return true; }
    // The next matrix, its square and the polynomial of that.
    long scratch(int slot, long numbers, long shorter) const override { return slot ? shorter * shorter : numbers; }

    void apply_to_whole(WholeGradient<T>& whole) const override {
        for (long a = 0; a < whole.arrays(); ++a) {
            if (!whole.applies(a)) continue;
            const Range place = whole.place(a);
            const long columns = whole.columns(a);
            T* const x = whole.g + place.from;
            if (columns) orthogonalize(whole, x, place.count() / columns, columns);
            else if (whole.t == 0)  // only matrices are orthogonalized
                for (long k = 0; k < place.count(); ++k) x[k] = 0;
        }
    }

  private:
    // Orthogonalizes x, of shape (rows, columns), in place and scales it by sqrt(max(1, columns /
    // rows)). A wait must follow before another thread's share of x is read.
    void orthogonalize(const WholeGradient<T>& whole, T* x, long rows, long columns) const {
        const int t = whole.t, threads = whole.threads;
        const long size = rows * columns, shorter = rows < columns ? rows : columns;
        if (!size) return;
        const Range own = share(size, MAX_LANES, t, threads), square = share(shorter * shorter, MAX_LANES, t, threads);
        const T norm = T(std::sqrt(dot(size, x, x)));
        whole.wait();  // until every thread has computed the norm of x
        for (long i = own.from; i < own.to; ++i) x[i] /= norm + T(epsilon);
        T *now = x, *next = whole.scratch(0, size), *const s = whole.scratch(1, shorter * shorter);
        T* const polynomial = whole.scratch(2, shorter * shorter);
        const auto product = [&](long m, long n, long k, const T* a, long a_row, long a_column, const T* b, long b_row,
                                 long b_column, T* c) {
            whole.wait();
            Product<T> work{m, n, k, a, a_row, a_column, b, b_row, b_column, c, n};
            work.whole = false;
            shared_product(t, threads, whole.pack(), work);
        };
        for (int i = 0; i < iterations; ++i) {
            // With the shorter side first: s = x x^T, x <- (3.4445 I - 4.775 s + 2.0315 s s) x
            if (rows > columns) product(shorter, shorter, rows, now, 1, columns, now, columns, 1, s);
            else product(shorter, shorter, columns, now, columns, 1, now, 1, columns, s);
            product(shorter, shorter, shorter, s, shorter, 1, s, shorter, 1, polynomial);
            whole.wait();
            for (long k = square.from; k < square.to; ++k)
                polynomial[k] = T(2.0315) * polynomial[k] - T(4.7750) * s[k] + (k % (shorter + 1) ? T(0) : T(3.4445));
            if (rows > columns) product(rows, columns, shorter, now, columns, 1, polynomial, shorter, 1, next);
            else product(rows, columns, shorter, polynomial, shorter, 1, now, columns, 1, next);
            T* const before = now;
            now = next;
            next = before;
        }
        whole.wait();
        const double wide = double(columns) / double(rows);
        scale(own.count(), T(std::sqrt(wide > 1 ? wide : 1)), now + own.from, x + own.from);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(orthogonalize, Orthogonalize)
