// The Adam family, as in descent/adaptive.py.
#include <cmath>

#include "elementwise.h"

namespace chainrule::CHAINRULE_ISA {

// base^t for 0 <= base < 1; returns 0 without computing it, which is slow, once it is below
// float64's epsilon.
INLINE double power(double base, double t) {
    if (t * (1 - base) > 40) return 0;  // base^t < exp(-40)
    return std::pow(base, t);
}

// The moving averages of gradients and of their squares; `Own` defines step(k, g, m, v, get, put).
template <class T, class Own> struct Moments : Elementwise<T, Own> {
    double beta1, beta2;
    T epsilon;
    T to_m = 0, to_v = 0;  // the bias corrections of m and v in this step
    explicit Moments(const Settings& s)
        : beta1(s.number("beta1")), beta2(s.number("beta2")), epsilon(T(s.number("epsilon"))) {}
    Needs needs() const override { return {2, true, false}; }
    void begin() override {
        const double t = this->t();
        to_m = T(1 / (1 - power(beta1, t)));
        to_v = T(1 / (1 - power(beta2, t)));
    }
    double t() const { return double(*this->count + 1); }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T *const m = this->state[0] + from, *const v = this->state[1] + from;
        const T beta1 = T(this->beta1), rest1 = T(1 - this->beta1), beta2 = T(this->beta2), rest2 = T(1 - this->beta2);
        const auto step = static_cast<const Own&>(*this).step(from);
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k);
            const Vec<T> m_now = get(m + k) * beta1 + g * rest1, v_now = get(v + k) * beta2 + g * g * rest2;
            put(m + k, m_now);
            put(v + k, v_now);
            emit(k, step(k, g, m_now, v_now, get, put), get, put);
        });
    }
};

template <class T> struct Adam : Moments<T, Adam<T>> {
    using Moments<T, Adam<T>>::Moments;
    INLINE auto step(long) const {
        return [to_m = this->to_m, to_v = this->to_v, epsilon = this->epsilon](long, Vec<T>, Vec<T> m, Vec<T> v, auto,
                                                                              auto) INLINE_LAMBDA -> Vec<T> {
            return m * to_m / (sqrt_of(v * to_v) + epsilon);
        };
    }
};

template <class T> struct AMSGrad : Moments<T, AMSGrad<T>> {
    using Moments<T, AMSGrad<T>>::Moments;
    Needs needs() const override { return {3, true, false}; }
    INLINE auto step(long from) const {
        return [to_m = this->to_m, to_v = this->to_v, epsilon = this->epsilon, third = this->state[2] + from](
                   long k, Vec<T>, Vec<T> m, Vec<T> v, auto get, auto put) INLINE_LAMBDA -> Vec<T> {
            const Vec<T> now = v * to_v, before = get(third + k), largest = now > before ? now : before;
            put(third + k, largest);
            return m * to_m / (sqrt_of(largest) + epsilon);
        };
    }
};

template <class T> struct NAdam : Moments<T, NAdam<T>> {
    T ahead = 0, to_g = 0;  // factors of m and g
    using Moments<T, NAdam<T>>::Moments;
    void begin() override {
        Moments<T, NAdam<T>>::begin();
        const double t = this->t();
        ahead = T(this->beta1 / (1 - std::pow(this->beta1, t + 1)));
        to_g = T((1 - this->beta1) / (1 - power(this->beta1, t)));
    }
    INLINE auto step(long) const {
        return [to_m = ahead, to_v = this->to_v, epsilon = this->epsilon, to_g = to_g](
                   long, Vec<T> g, Vec<T> m, Vec<T> v, auto, auto) INLINE_LAMBDA -> Vec<T> {
            return (m * to_m + g * to_g) / (sqrt_of(v * to_v) + epsilon);
        };
    }
};

// RAdam's variance rectification (Liu et al., 2020); -1 while the variance estimate is not yet
// tractable.
INLINE double rectifier(double beta2, double t) {
    const double longest = 2 / (1 - beta2) - 1, faded = std::pow(beta2, t);
    const double length = longest - 2 * t * faded / (1 - faded);
    if (length < 5) return -1;
    return std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
}

template <class T> struct RAdam : Moments<T, RAdam<T>> {
    bool early = false;
    using Moments<T, RAdam<T>>::Moments;
    void begin() override {
        Moments<T, RAdam<T>>::begin();
        const double t = this->t(), trust = rectifier(this->beta2, t);
        early = trust < 0;
        if (!early) this->to_m = T(trust * (1 / (1 - power(this->beta1, t))));
    }
    INLINE auto step(long) const {
        return [to_m = this->to_m, to_v = this->to_v, epsilon = this->epsilon, early = early](
                   long, Vec<T>, Vec<T> m, Vec<T> v, auto, auto) INLINE_LAMBDA -> Vec<T> {
            return early ? m * to_m : m * to_m / (sqrt_of(v * to_v) + epsilon);
        };
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(adam, Adam)
REGISTER_STAGE(amsgrad, AMSGrad)
REGISTER_STAGE(nadam, NAdam)
REGISTER_STAGE(radam, RAdam)
