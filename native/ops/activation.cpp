// Elementwise activations, f(z) and its slope f'(z), as in layers/activations.py.
//
// Settings: function: its name in FUNCTIONS; number: its hyperparameter, if it has one.
#include <cstring>

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
    static INLINE Vec<T> phi(Vec<T> z, Vec<T>& power) {
        return (erf_of(z * T(0.70710678118654752440), power) + 1) * T(0.5);
    }
    static INLINE Vec<T> f(Vec<T> z, T) {
        Vec<T> power;
        return z * phi(z, power);
    }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        Vec<T> power;
        const Vec<T> share = phi(z, power);
        return share + z * power * T(0.39894228040143267794);
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

template <class T> struct Function {
    const char* name;
    void (*forward)(T number, long count, const T* z, T* a);
    void (*backward)(T number, long count, const T* z, const T* a, const T* da, T* dz);
};
template <class T> constexpr Function<T> FUNCTIONS[] = {
    {"relu", activate<T, Rectified<T>>, activate_back<T, Rectified<T>>},
    {"leaky_relu", activate<T, Leaky<T>>, activate_back<T, Leaky<T>>},
    {"elu", activate<T, Elu<T>>, activate_back<T, Elu<T>>},
    {"selu", activate<T, Selu<T>>, activate_back<T, Selu<T>>},
    {"gelu", activate<T, Gelu<T>>, activate_back<T, Gelu<T>>},
    {"gelu_tanh", activate<T, GeluTanh<T>>, activate_back<T, GeluTanh<T>>},
    {"silu", activate<T, Silu<T>>, activate_back<T, Silu<T>>},
    {"mish", activate<T, Mish<T>>, activate_back<T, Mish<T>>},
    {"hard_swish", activate<T, HardSwish<T>>, activate_back<T, HardSwish<T>>},
    {"softplus", activate<T, Softplus<T>>, activate_back<T, Softplus<T>>},
    {"sigmoid", activate<T, Sigmoid<T>>, activate_back<T, Sigmoid<T>>},
    {"tanh", activate<T, Tanh<T>>, activate_back<T, Tanh<T>>},
    {"softsign", activate<T, Softsign<T>>, activate_back<T, Softsign<T>>},
    {"hard_sigmoid", activate<T, HardSigmoid<T>>, activate_back<T, HardSigmoid<T>>},
    {"hard_tanh", activate<T, HardTanh<T>>, activate_back<T, HardTanh<T>>},
    {"sine", activate<T, Sine<T>>, activate_back<T, Sine<T>>},
    {"step", activate<T, Step<T>>, activate_back<T, Step<T>>},
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
    bool wants_input;
    explicit Activation(const Record<T>& r)
        : x(r.input()), y(r.output()), f(function<T>(r.text("function"))),
          number(r.has("number") ? T(r.number("number")) : T(0)), wants_input(r.wants()) {
        require(f, "unknown activation");
        require(x.rows == y.rows && x.ld == y.ld, "an activation keeps the shape");
    }

    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        const T* z = x.value + r.from * x.ld;
        T* a = y.value + r.from * x.ld;
        const long count = r.count() * x.ld, whole = count / WIDTH<T> * WIDTH<T>, rest = count - whole;
        f->forward(number, whole, z, a);
        if (!rest) return;
        T zs[WIDTH<T>], as[WIDTH<T>];
        store(zs, load_part(z + whole, rest));
        f->forward(number, WIDTH<T>, zs, as);
        store_part(a + whole, load(as), rest);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        const long whole = count / WIDTH<T> * WIDTH<T>, rest = count - whole;
        const T *z = x.value + at, *a = y.value + at, *da = y.gradient + at;
        T* dz = x.gradient + at;
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
