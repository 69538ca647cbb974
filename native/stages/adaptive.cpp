// Adaptive step sizes without bias corrections of both moments, as in descent/adaptive.py.
#include <cmath>

#include "elementwise.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Adagrad : Elementwise<T, Adagrad<T>> {
    T epsilon;
    explicit Adagrad(const Settings& s) : epsilon(T(s.number("epsilon"))) {}
    Needs needs() const override { return {1, false, false}; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T epsilon = this->epsilon;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), sum = get(first + k) + g * g;
            put(first + k, sum);
            emit(k, g / sqrt_of(sum + epsilon), get, put);
        });
    }
};

template <class T> struct Adadelta : Elementwise<T, Adadelta<T>> {
    T decay, rest, epsilon;
    explicit Adadelta(const Settings& s)
        : decay(T(s.number("decay"))), rest(T(1 - s.number("decay"))), epsilon(T(s.number("epsilon"))) {}
    Needs needs() const override { return {2, false, false}; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T *const first = this->state[0] + from, *const second = this->state[1] + from;
        const T decay = this->decay, rest = this->rest, epsilon = this->epsilon;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), v = get(first + k) * decay + g * rest * g, past = get(second + k);
            const Vec<T> out = sqrt_of(past + epsilon) / sqrt_of(v + epsilon) * g;
            put(first + k, v);
            put(second + k, past * decay + out * rest * out);
            emit(k, out, get, put);
        });
    }
};

template <class T> struct RMS : Elementwise<T, RMS<T>> {
    T decay, rest, epsilon;
    explicit RMS(const Settings& s)
        : decay(T(s.number("decay"))), rest(T(1 - s.number("decay"))), epsilon(T(s.number("epsilon"))) {}
    Needs needs() const override { return {1, false, false}; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T decay = this->decay, rest = this->rest, epsilon = this->epsilon;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), v = get(first + k) * decay + g * rest * g;
            put(first + k, v);
            emit(k, g / sqrt_of(v + epsilon), get, put);
        });
    }
};

template <class T> struct Rprop : Elementwise<T, Rprop<T>> {
    T shrink, grow, smallest, largest;
    explicit Rprop(const Settings& s)
        : shrink(T(s.number("shrink"))), grow(T(s.number("grow"))), smallest(T(s.number("smallest"))),
          largest(T(s.number("largest"))) {}
    Needs needs() const override { return {2, false, false}; }
    bool propagates_nonfinite() const override { return false; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        typedef Vec<T> V;
        T *const first = this->state[0] + from, *const second = this->state[1] + from;
        const T shrink = this->shrink, grow = this->grow, smallest = this->smallest, largest = this->largest;
        const V zero = {};
        over<T>(n, [=](long k, auto get, auto put) {
            const V g = get(in + k), agreement = sign_of(g) * sign_of(get(second + k)), size = get(first + k);
            const V changed = size * (agreement > zero ? broadcast(grow) : broadcast(shrink));
            const V bounded =
                changed < smallest ? broadcast(smallest) : (changed > largest ? broadcast(largest) : changed);
            const V next = agreement == zero ? size : bounded, saved = agreement < zero ? zero : g;
            put(first + k, next);
            put(second + k, saved);
            emit(k, next * sign_of(saved), get, put);
        });
    }
};

template <class T> struct Adamax : Elementwise<T, Adamax<T>> {
    double beta1;
    T beta2, epsilon, to_m = 0;
    explicit Adamax(const Settings& s)
        : beta1(s.number("beta1")), beta2(T(s.number("beta2"))), epsilon(T(s.number("epsilon"))) {}
    Needs needs() const override { return {2, true, false}; }
    void begin() override { to_m = T(1 / (1 - std::pow(beta1, double(*this->count + 1)))); }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T *const first = this->state[0] + from, *const second = this->state[1] + from;
        const T beta1 = T(this->beta1), rest = T(1 - this->beta1), beta2 = this->beta2, epsilon = this->epsilon;
        const T to_m = this->to_m;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), m = get(first + k) * beta1 + g * rest, faded = get(second + k) * beta2;
            const Vec<T> size = abs_of(g) + epsilon, largest = faded > size ? faded : size;
            put(first + k, m);
            put(second + k, largest);
            emit(k, m * to_m / largest, get, put);
        });
    }
};

template <class T> struct Lion : Elementwise<T, Lion<T>> {
    T beta1, rest1, beta2, rest2;
    explicit Lion(const Settings& s)
        : beta1(T(s.number("beta1"))), rest1(T(1 - s.number("beta1"))), beta2(T(s.number("beta2"))),
          rest2(T(1 - s.number("beta2"))) {}
    Needs needs() const override { return {1, false, false}; }
    bool propagates_nonfinite() const override { return false; }

    template <class Emit> INLINE void each(long from, long n, const T* in, const T*, Emit emit) const {
        T* const first = this->state[0] + from;
        const T beta1 = this->beta1, rest1 = this->rest1, beta2 = this->beta2, rest2 = this->rest2;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k), m = get(first + k);
            emit(k, sign_of<Vec<T>>(m * beta1 + g * rest1), get, put);
            put(first + k, m * beta2 + g * rest2);
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(adagrad, Adagrad)
REGISTER_STAGE(adadelta, Adadelta)
REGISTER_STAGE(rms, RMS)
REGISTER_STAGE(rprop, Rprop)
REGISTER_STAGE(adamax, Adamax)
REGISTER_STAGE(lion, Lion)
