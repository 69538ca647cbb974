// Elementwise activations, f(z) and its slope f'(z), as in layers/activations.py, and Scale.
//
// Settings: function: its name in FUNCTIONS; number: its hyperparameter, if it has one; keeps_slopes:
// whether the input's memory gets the slopes in training; leaves_slopes: whether, besides, the output's
// reader multiplies the derivatives by them.
#include <cstring>

#include "../copies.h"
#include "../functions.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

// max(0, z), which propagates NaN.
template <class T> INLINE Vec<T> positive_part(Vec<T> z) { return T(0) > z ? Vec<T>{} : z; }

template <class T> struct Leaky {
    static INLINE Vec<T> f(Vec<T> z, T slope) { return z > T(0) ? z : z * slope; }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T slope) { return z > T(0) ? broadcast(T(1)) : broadcast(slope); }
};
template <class T> struct Rectified {
    static INLINE Vec<T> f(Vec<T> z, T) { return positive_part<T>(z); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) { return z > T(0) ? broadcast(T(1)) : Vec<T>{}; }
};
template <class T> struct Elu {
    static INLINE Vec<T> f(Vec<T> z, T alpha) { return z > T(0) ? z : expm1_of<T>(z) * alpha; }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T alpha) { return z > T(0) ? broadcast(T(1)) : exp_of<T>(z) * alpha; }
};
template <class T> struct Selu {
    static constexpr T ALPHA = T(1.6732632423543772), SCALE = T(1.0507009873554805);
    static INLINE Vec<T> f(Vec<T> z, T) { return Elu<T>::f(z, ALPHA) * SCALE; }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T> a, T) { return Elu<T>::slope(z, a, ALPHA) * SCALE; }
};
template <class T> struct Gelu {
    static INLINE Vec<T> f(Vec<T> z, T) {
        Vec<T> density;
        return z * normal_of(z, density);
    }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        Vec<T> density;
        const Vec<T> share = normal_of(z, density);
        return share + z * density * T(0.39894228040143267794);
    }
};
template <class T> struct GeluTanh {
    static constexpr T ROOT = T(0.79788456080286535588), CUBE = T(0.044715);
    static INLINE Vec<T> t(Vec<T> z) { return tanh_of<T>((z + z * z * z * CUBE) * ROOT); }
    static INLINE Vec<T> f(Vec<T> z, T) { return z * T(0.5) * (t(z) + 1); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        const Vec<T> u = t(z);
        return (u + 1) * T(0.5) + z * T(0.5) * (1 - u * u) * ROOT * (1 + z * z * (3 * CUBE));
    }
};
template <class T> struct Silu {
    static INLINE Vec<T> f(Vec<T> z, T) { return z * sigmoid_of<T>(z); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        const Vec<T> s = sigmoid_of<T>(z);
        return s * (1 + z * (1 - s));
    }
};
template <class T> struct Mish {
    static INLINE Vec<T> f(Vec<T> z, T) { return z * tanh_of<T>(softplus_of<T>(z)); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        const Vec<T> t = tanh_of<T>(softplus_of<T>(z));
        return t + z * sigmoid_of<T>(z) * (1 - t * t);
    }
};

template <class T> INLINE Vec<T> clamp(Vec<T> z, T low, T high) {
    return z < low ? broadcast(low) : (z > high ? broadcast(high) : z);
}
template <class T> struct HardSwish {
    static INLINE Vec<T> f(Vec<T> z, T) { return z * clamp<T>(z + 3, 0, 6) / 6; }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        return z <= T(-3) ? Vec<T>{} : (z >= T(3) ? broadcast(T(1)) : (z * 2 + 3) / 6);
    }
};
template <class T> struct Softplus {
    static INLINE Vec<T> f(Vec<T> z, T) { return softplus_of<T>(z); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) { return sigmoid_of<T>(z); }
};
template <class T> struct Sigmoid {
    static INLINE Vec<T> f(Vec<T> z, T) { return sigmoid_of<T>(z); }
    static INLINE Vec<T> slope(Vec<T>, Vec<T> a, T) { return a * (1 - a); }
};
template <class T> struct Tanh {
    static INLINE Vec<T> f(Vec<T> z, T) { return tanh_of<T>(z); }
    static INLINE Vec<T> slope(Vec<T>, Vec<T> a, T) { return 1 - a * a; }
};
template <class T> struct Softsign {
    static INLINE Vec<T> f(Vec<T> z, T) { return z / (1 + abs_of(z)); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        const Vec<T> r = 1 / (1 + abs_of(z));
        return r * r;
    }
};
template <class T> struct HardSigmoid {
    static INLINE Vec<T> f(Vec<T> z, T) { return clamp<T>(z / 6 + T(0.5), 0, 1); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        return z > T(-3) ? (z < T(3) ? broadcast(T(1) / 6) : Vec<T>{}) : Vec<T>{};
    }
};
template <class T> struct HardTanh {
    static INLINE Vec<T> f(Vec<T> z, T) { return clamp<T>(z, -1, 1); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        return z > T(-1) ? (z < T(1) ? broadcast(T(1)) : Vec<T>{}) : Vec<T>{};
    }
};
template <class T> struct Sine {
    static INLINE Vec<T> f(Vec<T> z, T frequency) { return sin_of<T>(z * frequency); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T frequency) { return cos_of<T>(z * frequency) * frequency; }
};
template <class T> struct Scale {
    static INLINE Vec<T> f(Vec<T> z, T factor) { return z * factor; }
    static INLINE Vec<T> slope(Vec<T>, Vec<T>, T factor) { return broadcast(factor); }
};
template <class T> struct Step {
    static INLINE Vec<T> f(Vec<T> z, T) { return z > T(0) ? broadcast(T(1)) : Vec<T>{}; }
    static INLINE Vec<T> slope(Vec<T>, Vec<T>, T) { return Vec<T>{}; }
};

// Whole vectors only.
template <class T, class F> void activate(T number, long count, const T* z, T* a) {
    for (long k = 0; k < count; k += WIDTH<T>) store(a + k, F::f(load(z + k), number));
}
template <class T, class F> void activate_back(T number, long count, const T* z, const T* a, const T* da, T* dz) {
    for (long k = 0; k < count; k += WIDTH<T>)
        store(dz + k, load(da + k) * F::slope(load(z + k), load(a + k), number));
}
// Writes the slopes over z.
template <class T, class F> void activate_keeping_slopes(T number, long count, T* z, T* a) {
    for (long k = 0; k < count; k += WIDTH<T>) {
        const Vec<T> from = load(z + k), to = F::f(from, number);
        store(a + k, to);
        store(z + k, F::slope(from, to, number));
    }
}

template <class T> struct Function {
    const char* name;
    void (*forward)(T number, long count, const T* z, T* a);
    void (*backward)(T number, long count, const T* z, const T* a, const T* da, T* dz);
    void (*keeping_slopes)(T number, long count, T* z, T* a);
};
template <class T, class F> constexpr Function<T> entry(const char* name) {
    return {name, activate<T, F>, activate_back<T, F>, activate_keeping_slopes<T, F>};
}
template <class T> constexpr Function<T> FUNCTIONS[] = {
    entry<T, Rectified<T>>("relu"),
    entry<T, Leaky<T>>("leaky_relu"),
    entry<T, Elu<T>>("elu"),
    entry<T, Selu<T>>("selu"),
    entry<T, Gelu<T>>("gelu"),
    entry<T, GeluTanh<T>>("gelu_tanh"),
    entry<T, Silu<T>>("silu"),
    entry<T, Mish<T>>("mish"),
    entry<T, HardSwish<T>>("hard_swish"),
    entry<T, Softplus<T>>("softplus"),
    entry<T, Sigmoid<T>>("sigmoid"),
    entry<T, Tanh<T>>("tanh"),
    entry<T, Softsign<T>>("softsign"),
    entry<T, HardSigmoid<T>>("hard_sigmoid"),
    entry<T, HardTanh<T>>("hard_tanh"),
    entry<T, Sine<T>>("sine"),
    entry<T, Scale<T>>("scale"),
    entry<T, Step<T>>("step"),
};

template <class T> const Function<T>* function(const char* name) {
    for (const Function<T>& f : FUNCTIONS<T>)
        if (!std::strcmp(f.name, name)) return &f;
    return nullptr;
}

template <class T> struct Activation : Operation<T> {
    const Value<T>&x, &y;
    const Function<T>* f;
    T number;
    bool wants_input, keeps_slopes, leaves_slopes;
    explicit Activation(const Record<T>& r)
        : x(r.input()), y(r.output()), f(function<T>(r.text("function"))),
          number(r.has("number") ? T(r.number("number")) : T(0)), wants_input(r.wants()),
          keeps_slopes(wants_input && r.has("keeps_slopes") && r.flag("keeps_slopes")),
          leaves_slopes(keeps_slopes && r.flag("leaves_slopes")) {
        require(f, "unknown activation");
        require(x.rows == y.rows && x.ld == y.ld, "an activation keeps the shape");
    }

    bool shares_gradient() const override { return leaves_slopes; }
    const Value<T>* slopes() const override { return leaves_slopes ? &x : nullptr; }
    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        T *const z = x.value + r.from * x.ld, *const a = y.value + r.from * x.ld;
        const long count = r.count() * x.ld, whole = count / WIDTH<T> * WIDTH<T>, rest = count - whole;
        const bool keep = keeps_slopes && p.training;
        if (keep) f->keeping_slopes(number, whole, z, a);
        else f->forward(number, whole, z, a);
        if (!rest) return;
        T zs[WIDTH<T>], as[WIDTH<T>];
        store(zs, load_part(z + whole, rest));
        f->keeping_slopes(number, WIDTH<T>, zs, as);
        store_part(a + whole, load(as), rest);
        if (keep) store_part(z + whole, load(zs), rest);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input || (leaves_slopes && p.training)) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        const long whole = count / WIDTH<T> * WIDTH<T>, rest = count - whole;
        const T *z = x.value + at, *a = y.value + at, *da = y.gradient + at;
        T* dz = x.gradient + at;
        if (keeps_slopes && p.training) return multiply(count, da, z, dz);
        f->backward(number, whole, z, a, da, dz);
        if (!rest) return;
        T zs[WIDTH<T>], as[WIDTH<T>], das[WIDTH<T>], dzs[WIDTH<T>];
        store(zs, load_part(z + whole, rest));
        store(as, load_part(a + whole, rest));
        store(das, load_part(da + whole, rest));
        f->backward(number, WIDTH<T>, zs, as, das, dzs);
        store_part(dz + whole, load(dzs), rest);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(activation, Activation)
