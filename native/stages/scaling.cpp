// Stages without a memory of gradients, as in descent/stages.py.
#include "elementwise.h"

namespace chainrule::CHAINRULE_ISA {

// Multiplies by a factor that `begin` sets.
template <class T, class Own> struct Scaling : Elementwise<T, Own> {
    T by = 1;
    const T* factor() const override { return &by; }

    template <class Emit> INLINE void each(long, long n, const T* in, const T*, Emit emit) const {
        const T by = this->by;
        over<T>(n, [=](long k, auto get, auto put) { emit(k, get(in + k) * by, get, put); });
    }
};

// The learning rate, by a schedule.
template <class T> struct Rate : Scaling<T, Rate<T>> {
    const Settings& settings;
    explicit Rate(const Settings& s) : settings(s) { s.rate(0); }  // throws without a schedule
    Needs needs() const override { return {0, true, false}; }
    void begin() override { this->by = T(settings.rate(*this->count)); }
};

template <class T> struct Plateau : Scaling<T, Plateau<T>> {
    explicit Plateau(const Settings&) {}
    Needs needs() const override { return {0, false, true}; }
    void begin() override { this->by = T(*this->scale); }
};

template <class T> struct Decay : Elementwise<T, Decay<T>> {
    T strength;
    explicit Decay(const Settings& s) : strength(T(s.number("strength"))) {}

    template <class Emit> INLINE void each(long, long n, const T* in, const T* w, Emit emit) const {
        const T strength = this->strength;
        over<T>(n, [=](long k, auto get, auto put) { emit(k, get(in + k) + get(w + k) * strength, get, put); });
    }
};

template <class T> struct ClipValue : Elementwise<T, ClipValue<T>> {
    T limit;
    explicit ClipValue(const Settings& s) : limit(T(s.number("limit"))) {}
    bool propagates_nonfinite() const override { return false; }

    template <class Emit> INLINE void each(long, long n, const T* in, const T*, Emit emit) const {
        const T limit = this->limit;
        over<T>(n, [=](long k, auto get, auto put) {
            const Vec<T> g = get(in + k);
            emit(k, g < -limit ? broadcast(-limit) : (g > limit ? broadcast(limit) : g), get, put);
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_STAGE(rate, Rate)
REGISTER_STAGE(plateau, Plateau)
REGISTER_STAGE(decay, Decay)
REGISTER_STAGE(clip_value, ClipValue)
