// Losses of numbers, as in losses/regression.py and losses/distributional.py.
#include <cmath>
#include <limits>

#include "block.h"

namespace chainrule::CHAINRULE_ISA {

// The mean over the outputs of `of(difference, output, slope)`, which also sets the slope.
template <class T, class Of> INLINE Vec<T> averaged(const Block<T>& s, Of of) {
    Vec<T> loss = {};
    for (long k = 0; k < s.outputs; ++k) {
        Vec<T> slope;
        loss += of(s.at(s.z, k) - s.at(s.t, k), k, slope);
        s.put(k, slope / T(s.outputs));
    }
    return loss / T(s.outputs);
}

template <class T> struct Squared : BlockLoss<T, Squared<T>> {
    explicit Squared(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
            slope = d * 2;
            return d * d;
        });
    }
};

template <class T> struct HalfSquares : BlockLoss<T, HalfSquares<T>> {
    explicit HalfSquares(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        Vec<T> loss = {};
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> d = s.at(s.z, k) - s.at(s.t, k);
            loss += d * d;
            s.put(k, d);
        }
        return loss / 2;
    }
};

template <class T> struct Absolute : BlockLoss<T, Absolute<T>> {
    explicit Absolute(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
            slope = sign_of(d);
            return abs_of(d);
        });
    }
};

template <class T> struct Huber : BlockLoss<T, Huber<T>> {
    T delta;
    explicit Huber(const Settings& s) : delta(T(s.number("delta"))) {}

    Vec<T> of(const Block<T>& s) const {
        const T delta = this->delta;
        return averaged(s, [delta](Vec<T> d, long, Vec<T>& slope) -> Vec<T> {
            const Vec<T> size = abs_of(d);
            slope = d < -delta ? broadcast(-delta) : (d > delta ? broadcast(delta) : d);
            return size > delta ? (size - delta / 2) * delta : size * size / 2;
        });
    }
};

template <class T> struct LogCosh : BlockLoss<T, LogCosh<T>> {
    explicit LogCosh(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
            const Vec<T> size = abs_of(d);
            slope = tanh_of<T>(d);
            return size + log1p_of<T>(exp_of<T>(size * -2)) - T(0.69314718055994530942);
        });
    }
};

template <class T> struct Quantile : BlockLoss<T, Quantile<T>> {
    T level;
    explicit Quantile(const Settings& s) : level(T(s.number("level"))) {}

    Vec<T> of(const Block<T>& s) const {
        const T level = this->level;
        return averaged(s, [level](Vec<T> d, long, Vec<T>& slope) {
            slope = d > T(0) ? broadcast(1 - level) : (d < T(0) ? broadcast(-level) : d);
            return slope * d;
        });
    }
};

template <class T> struct Poisson : BlockLoss<T, Poisson<T>> {
    explicit Poisson(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        return averaged(s, [&s](Vec<T>, long k, Vec<T>& slope) {
            const Vec<T> z = s.at(s.z, k), t = s.at(s.t, k), rate = exp_of<T>(z);
            slope = rate - t;
            return rate - t * z;
        });
    }
};

// The first half of the outputs are means; from the second half come log variances, which are not
// less than log_floor, the logarithm of a floor, or minus infinity.
template <class T> struct Gaussian : BlockLoss<T, Gaussian<T>> {
    T log_floor;
    explicit Gaussian(const Settings& s) : log_floor(T(s.number("log_floor"))) {}

    void check(long outputs, long target_width, bool classes) const override {
        Loss<T>::check(outputs / 2, target_width, classes);
    }

    Vec<T> of(const Block<T>& s) const {
        const T lowest = log_floor;
        const bool floored = lowest > -std::numeric_limits<T>::max();
        Vec<T> loss = {};
        for (long k = 0; k < s.columns; ++k) {
            const Vec<T> d = s.at(s.z, k) - s.at(s.t, k), z = s.at(s.z, s.columns + k);
            Vec<T> log_variance = z, share = broadcast(T(1));
            if (floored) {
                const Vec<T> beyond = z - lowest;
                log_variance = (z > lowest ? z : broadcast(lowest)) + log1p_of<T>(exp_of<T>(-abs_of(beyond)));
                share = sigmoid_of<T>(beyond);
            }
            const Vec<T> precision = exp_of<T>(-log_variance), error = d * d * precision;
            loss += (log_variance + error + T(1.83787706640934548356)) / 2;
            s.put(k, d * precision / T(s.columns));
            s.put(s.columns + k, share * (1 - error) / 2 / T(s.columns));
        }
        return loss / T(s.columns);
    }
};

template <class T> struct Cosine : BlockLoss<T, Cosine<T>> {
    explicit Cosine(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        const T tiny = std::sqrt(std::sqrt(T(sizeof(T) == 4 ? 1.17549435e-38 : 2.2250738585072014e-308)));
        Vec<T> yy = {}, tt = {}, yt = {};
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> y = s.at(s.z, k), t = s.at(s.t, k);
            yy += y * y;
            tt += t * t;
            yt += y * t;
        }
        const Vec<T> y_norm = sqrt_of(yy), t_norm = sqrt_of(tt);
        const Vec<T> size = y_norm < tiny ? broadcast(tiny) : y_norm;
        const Vec<T> sizes = size * (t_norm < tiny ? broadcast(tiny) : t_norm);
        const Vec<T> cosine = yt / sizes;
        for (long k = 0; k < s.outputs; ++k) s.put(k, s.at(s.z, k) * cosine / (size * size) - s.at(s.t, k) / sizes);
        return 1 - cosine;
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_LOSS(squared, Squared)
REGISTER_LOSS(half_squares, HalfSquares)
REGISTER_LOSS(absolute, Absolute)
REGISTER_LOSS(huber, Huber)
REGISTER_LOSS(log_cosh, LogCosh)
REGISTER_LOSS(quantile, Quantile)
REGISTER_LOSS(poisson, Poisson)
REGISTER_LOSS(gaussian, Gaussian)
REGISTER_LOSS(cosine, Cosine)
