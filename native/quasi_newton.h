// L-BFGS and its line search, as in descent/quasi_newton.py (Nocedal & Wright, Numerical
// Optimization, 2006).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels.h"

namespace chainrule {

// The L-BFGS memory: the last `known` steps s (negative before the first step, at most `most`),
// the changes y of the gradient along them, oldest first, and the parameters and gradient where
// the last step began.
template <class T> struct Curvature {
    long size, most;
    T *s, *y;
    T *parameters, *gradient;
    int64_t& known;

    // Multiplies g, the gradient at parameters w, by the estimate of the inverse Hessian, in place
    // (two-loop recursion).
    void apply(const Kernels<T>& kernels, const T* w, T* g) {
        known = std::min(known, int64_t(most));  // it may come from a checkpoint
        if (known < 0) known = 0;
        else remember(w, g);
        std::memcpy(parameters, w, size_t(size) * sizeof(T));
        std::memcpy(gradient, g, size_t(size) * sizeof(T));
        const auto row = [this](T* of, long k) { return of + k * size; };
        const long count = long(known);
        if (!count) {
            const double norm = std::sqrt(kernels.dot(size, g, g));
            if (norm > 0) scale(T(std::min(1.0, 1 / norm)), g);
            return;
        }
        std::vector<T> rho(static_cast<size_t>(count)), alpha(static_cast<size_t>(count));
        for (long k = count; k-- > 0;) {
            rho[size_t(k)] = T(1) / T(kernels.dot(size, row(s, k), row(y, k)));
            alpha[size_t(k)] = rho[size_t(k)] * T(kernels.dot(size, row(s, k), g));
            kernels.add_scaled(size, -alpha[size_t(k)], row(y, k), g);
        }
        const T *last_s = row(s, count - 1), *last_y = row(y, count - 1);
        scale(T(kernels.dot(size, last_s, last_y)) / T(kernels.dot(size, last_y, last_y)), g);
        for (long k = 0; k < count; ++k) {
            const T beta = rho[size_t(k)] * T(kernels.dot(size, row(y, k), g));
            kernels.add_scaled(size, alpha[size_t(k)] - beta, row(s, k), g);
        }
    }

  private:
    void scale(T factor, T* g) const {
        for (long i = 0; i < size; ++i) g[i] *= factor;
    }

    // Stores the last step and change of the gradient if the curvature along it is positive.
    void remember(const T* w, const T* g) {
        double curvature = 0;
        for (long i = 0; i < size; ++i) curvature += double(w[i] - parameters[i]) * double(g[i] - gradient[i]);
        if (!(curvature > 0)) return;
        if (known == most) {
            std::memmove(s, s + size, size_t((most - 1) * size) * sizeof(T));
            std::memmove(y, y + size, size_t((most - 1) * size) * sizeof(T));
        } else {
            ++known;
        }
        T *step = s + (known - 1) * size, *change = y + (known - 1) * size;
        for (long i = 0; i < size; ++i) {
            step[i] = w[i] - parameters[i];
            change[i] = g[i] - gradient[i];
        }
    }
};

// A point on the search line: the step length, the loss and its slope along the line.
struct Trial {
    double step, value, slope;
};

// Finds a step length that meets the strong Wolfe conditions.
struct LineSearch {
    double decrease, curvature;
    int trials;

    template <class Along> double operator()(Along along, const Trial& start) const {
        Trial before = start;
        double step = 1;
        for (int used = 1; used <= trials; ++used, step *= 2) {
            const Trial now = along(step);
            if (!falls_enough(now, start) || (used > 1 && now.value >= before.value))
                return zoom(along, start, before, now, trials - used);
            if (std::abs(now.slope) <= -curvature * start.slope) return step;
            if (now.slope >= 0) return zoom(along, start, now, before, trials - used);
            before = now;
        }
        return before.step;
    }

  private:
    bool falls_enough(const Trial& trial, const Trial& start) const {
        return trial.value <= start.value + decrease * trial.step * start.slope;  // false for NaN
    }

    // Narrows the interval between low, the best point so far, and high, by a cubic through both
    // and a third point.
    template <class Along> double zoom(Along along, const Trial& start, Trial low, Trial high, int left) const {
        Trial third = start;
        for (; left > 0; --left) {
            if (std::abs(high.step - low.step) <= 1e-5 && low.step > 0) break;
            const Trial middle = along(between(low, high, third));
            if (!falls_enough(middle, start) || middle.value >= low.value) {
                third = high;
                high = middle;
                continue;
            }
            if (std::abs(middle.slope) <= -curvature * start.slope) return middle.step;
            if (middle.slope * (high.step - low.step) >= 0) {
                third = high;
                high = low;
            } else {
                third = low;
            }
            low = middle;
        }
        return low.step;
    }

    // The estimated minimum between two points, kept away from both ends.
    static double between(const Trial& low, const Trial& high, const Trial& third) {
        const double left = std::min(low.step, high.step), right = std::max(low.step, high.step), width = right - left;
        const auto inside = [=](double guess, double margin) {
            return left + margin * width < guess && guess < right - margin * width;
        };
        const double cubic = cubic_minimum(low, high, third);
        if (inside(cubic, 0.2)) return cubic;
        const double parabola = parabola_minimum(low, high);
        if (inside(parabola, 0.1)) return parabola;
        return (low.step + high.step) / 2;
    }

    static double cubic_minimum(const Trial& a, const Trial& b, const Trial& c) {
        constexpr double none = std::numeric_limits<double>::quiet_NaN();
        const double db = b.step - a.step, dc = c.step - a.step, denominator = db * dc * (db * dc) * (db - dc);
        if (denominator == 0) return none;
        const double rise_b = b.value - a.value - a.slope * db, rise_c = c.value - a.value - a.slope * dc;
        const double cubic = (dc * dc * rise_b - db * db * rise_c) / denominator;
        const double square = (db * db * db * rise_c - dc * dc * dc * rise_b) / denominator;
        const double under = square * square - 3 * cubic * a.slope;
        return under >= 0 && cubic != 0 ? a.step + (std::sqrt(under) - square) / (3 * cubic) : none;
    }

    static double parabola_minimum(const Trial& a, const Trial& b) {
        const double db = b.step - a.step;
        const double square = db != 0 ? (b.value - a.value - a.slope * db) / (db * db) : 0;
        return square != 0 ? a.step - a.slope / (2 * square) : std::numeric_limits<double>::quiet_NaN();
    }
};

}  // namespace chainrule
