// L-BFGS and its line search, as in descent/quasi_newton.py (Nocedal & Wright, Numerical
// Optimization, 2006).
#include <cmath>
#include <cstring>

#include "../arithmetic.h"
#include "whole.h"

namespace chainrule::CHAINRULE_ISA {

INLINE double smaller(double a, double b) { return b < a ? b : a; }
INLINE double larger(double a, double b) { return a < b ? b : a; }

// Its state is the last steps s, the changes y of the gradient along them, oldest first, and the
// parameters and gradient where the last step began. Its count is how many steps it knows, negative
// before the first one.
template <class T> struct LBFGS : WholeStage<T> {
    long memory;
    explicit LBFGS(const Settings& s) : memory(long(s.number("memory"))) {
        require(memory >= 1, "L-BFGS must remember at least one step");
    }
    Needs needs() const override { return {4, true, false}; }
    long rows(int vector) const override { return vector < 2 ? memory : 1; }
    bool end() override { return true; }
    long scratch(int slot, long, long) const override { return slot < 2 ? memory : 0; }

    // Multiplies g, the gradient at parameters w, by the estimate of the inverse Hessian, in place
    // (two-loop recursion).
    void apply_to_whole(WholeGradient<T>& whole) const override {
        if (whole.t != 0) return;
        const long size = whole.size;
        T* const g = whole.g;
        int64_t& known = *this->count;
        if (known > memory) known = memory;  // it may come from a checkpoint
        if (known < 0) known = 0;
        else remember(whole.w, g, size);
        std::memcpy(this->state[2], whole.w, size_t(size) * sizeof(T));
        std::memcpy(this->state[3], g, size_t(size) * sizeof(T));
        const long count = long(known);
        if (!count) {
            const double norm = std::sqrt(dot(size, g, g));
            if (norm > 0) times(T(smaller(1.0, 1 / norm)), g, size);
            return;
        }
        T *const rho = whole.scratch(0, count), *const alpha = whole.scratch(1, count);
        const auto s = [&](long k) { return this->state[0] + k * size; };
        const auto y = [&](long k) { return this->state[1] + k * size; };
        for (long k = count; k-- > 0;) {
            rho[k] = T(1) / T(dot(size, s(k), y(k)));
            alpha[k] = rho[k] * T(dot(size, s(k), g));
            add_scaled(size, -alpha[k], y(k), g);
        }
        const T *last_s = s(count - 1), *last_y = y(count - 1);
        times(T(dot(size, last_s, last_y)) / T(dot(size, last_y, last_y)), g, size);
        for (long k = 0; k < count; ++k) {
            const T beta = rho[k] * T(dot(size, y(k), g));
            add_scaled(size, alpha[k] - beta, s(k), g);
        }
    }

  private:
    static void times(T factor, T* g, long size) {
        for (long i = 0; i < size; ++i) g[i] *= factor;
    }

    // Stores the last step and change of the gradient if the curvature along it is positive.
    void remember(const T* w, const T* g, long size) const {
        T *const s = this->state[0], *const y = this->state[1];
        const T *const parameters = this->state[2], *const gradient = this->state[3];
        int64_t& known = *this->count;
        double curvature = 0;
        for (long i = 0; i < size; ++i) curvature += double(w[i] - parameters[i]) * double(g[i] - gradient[i]);
        if (!(curvature > 0)) return;
        if (known == memory) {
            std::memmove(s, s + size, size_t((memory - 1) * size) * sizeof(T));
            std::memmove(y, y + size, size_t((memory - 1) * size) * sizeof(T));
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
            if (std::fabs(now.slope) <= -curvature * start.slope) return step;
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
            if (std::fabs(high.step - low.step) <= 1e-5 && low.step > 0) break;
            const Trial middle = along(between(low, high, third));
            if (!falls_enough(middle, start) || middle.value >= low.value) {
                third = high;
                high = middle;
                continue;
            }
            if (std::fabs(middle.slope) <= -curvature * start.slope) return middle.step;
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
        const double left = smaller(low.step, high.step), right = larger(low.step, high.step), width = right - left;
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
        constexpr double none = NAN;
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
        return square != 0 ? a.step - a.slope / (2 * square) : NAN;
    }
};

template <class T> struct StrongWolfe : WholeStage<T> {
    LineSearch search;
    explicit StrongWolfe(const Settings& s)
        : search{s.number("decrease"), s.number("curvature"), int(s.number("trials"))} {}
    bool searches() const override { return true; }

    // Every thread runs the same search.
    void apply_to_whole(WholeGradient<T>& whole) const override {
        const Trial start = whole.start();
        const double length = start.slope < 0 ? search([&](double step) { return whole.along(step); }, start) : 0;
        for (long a = 0; whole.t == 0 && a < whole.arrays(); ++a) whole.multiply(a, T(length));
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(lbfgs, LBFGS)
REGISTER_STAGE(line_search, StrongWolfe)
