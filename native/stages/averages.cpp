// Sums and moving averages of gradients or weights, as in descent/stages.py; momentum_mean is
// Muon's, in descent/adaptive.py.
#include <cmath>

#include "elementwise.h"

namespace chainrule::CHAINRULE_ISA {

// The mean of the gradients of some mini-batches, when it is due.
template <class T> struct Accumulate : Elementwise<T, Accumulate<T>> {
    double steps;
    bool due = false;
    explicit Accumulate(const Settings& s) : steps(s.number("steps")) {}
    Needs needs() const override { return {1, true, false}; }
    bool propagates_nonfinite() const override { return false; }
    void begin() override { due = double(*this->count + 1) >= steps; }
    bool ends_step() const override { return !due; }
    bool end() override {
        if (++*this->count < int64_t(steps)) return false;
        *this->count = 0;
        return true;
    }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T steps = T(this->steps);
        const bool due = this->due;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> sum = get(first + k) + get(in + k);
            put(first + k, due ? Vec<T>{} : sum);
            emit(k, sum / steps, get, put);
        });
    }
};

// The moving average of the weights.
template <class T> struct Average : Elementwise<T, Average<T>> {
    double decay;
    T now = 0;
    explicit Average(const Settings& s) : decay(s.number("decay")) {}
    Needs needs() const override { return {1, true, false}; }
    void begin() override {
        const double t = double(*this->count + 1), early = t / (9 + t);
        now = T(early < decay ? early : decay);
    }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T* w, Emit emit) const {
        T* const first = this->state[0] + from;
        const T decay = now;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> step = get(in + k);
            put(first + k, get(first + k) * decay + (get(w + k) - step) * (1 - decay));
            emit(k, step, get, put);
        });
    }
};

template <class T> struct Momentum : Elementwise<T, Momentum<T>> {
    T decay;
    explicit Momentum(const Settings& s) : decay(T(s.number("decay"))) {}
    Needs needs() const override { return {1, false, false}; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T decay = this->decay;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> v = get(first + k) * decay + get(in + k);
            put(first + k, v);
            emit(k, v, get, put);
        });
    }
};

template <class T> struct Nesterov : Elementwise<T, Nesterov<T>> {
    T decay;
    explicit Nesterov(const Settings& s) : decay(T(s.number("decay"))) {}
    Needs needs() const override { return {1, false, false}; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T decay = this->decay;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), v = get(first + k) * decay + g;
            put(first + k, v);
            emit(k, g + v * decay, get, put);
        });
    }
};

// A moving average of gradients that looks one step ahead, unbiased.
template <class T> struct MomentumMean : Elementwise<T, MomentumMean<T>> {
    double decay;
    T ahead = 0, here = 0;  // divisors of the two terms
    explicit MomentumMean(const Settings& s) : decay(s.number("decay")) {}
    Needs needs() const override { return {1, true, false}; }
    void begin() override {
        const double t = double(*this->count + 1);
        ahead = T(1 - std::pow(decay, t + 1));
        here = T(1 - std::pow(decay, t));
    }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T decay = T(this->decay), rest = T(1 - this->decay), ahead = this->ahead, here = this->here;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), m = get(first + k) * decay + g * rest;
            put(first + k, m);
            emit(k, m * decay / ahead + g * rest / here, get, put);
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(accumulate, Accumulate)
REGISTER_STAGE(average, Average)
REGISTER_STAGE(momentum, Momentum)
REGISTER_STAGE(nesterov, Nesterov)
REGISTER_STAGE(momentum_mean, MomentumMean)
