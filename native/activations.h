// Elementwise activations, f(z) and its slope f'(z), as in layers/activations.py.
#pragma once

#include "functions.h"
#include "kernels.h"

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
    static INLINE Vec<T> phi(Vec<T> z) { return (erf_of<T>(z * T(0.70710678118654752440)) + 1) * T(0.5); }
    static INLINE Vec<T> f(Vec<T> z, T) { return z * phi(z); }
    static INLINE Vec<T> slope(Vec<T> z, Vec<T>, T) {
        return phi(z) + z * exp_of<T>(z * z * T(-0.5)) * T(0.39894228040143267794);
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

// Calls `use` with an object of the activation's type.
template <class T, class Use> INLINE void dispatch(Activation kind, Use use) {
    switch (kind) {
        case Activation::relu: return use(Rectified<T>{});
        case Activation::leaky_relu: return use(Leaky<T>{});
        case Activation::elu: return use(Elu<T>{});
        case Activation::selu: return use(Selu<T>{});
        case Activation::gelu: return use(Gelu<T>{});
        case Activation::gelu_tanh: return use(GeluTanh<T>{});
        case Activation::silu: return use(Silu<T>{});
        case Activation::mish: return use(Mish<T>{});
        case Activation::hard_swish: return use(HardSwish<T>{});
        case Activation::softplus: return use(Softplus<T>{});
        case Activation::sigmoid: return use(Sigmoid<T>{});
        case Activation::tanh: return use(Tanh<T>{});
        case Activation::softsign: return use(Softsign<T>{});
        case Activation::hard_sigmoid: return use(HardSigmoid<T>{});
        case Activation::hard_tanh: return use(HardTanh<T>{});
        case Activation::sine: return use(Sine<T>{});
        case Activation::step: return use(Step<T>{});
    }
}

// Whole vectors only: activations are padded.
template <class T> void activate(Activation kind, T number, long count, const T* z, T* a) {
    dispatch<T>(kind, [=](auto f) {
        for (long k = 0; k < count; k += WIDTH<T>) store(a + k, f.f(load(z + k), number));
    });
}

template <class T>
void activate_back(Activation kind, T number, long count, const T* z, const T* a, const T* da, T* dz) {
    dispatch<T>(kind, [=](auto f) {
        for (long k = 0; k < count; k += WIDTH<T>)
            store(dz + k, load(da + k) * f.slope(load(z + k), load(a + k), number));
    });
}

template <class T> void prelu(long rows, long columns, const T* z, const T* alpha, T* a, long ld) {
    for (long j = 0; j < columns; j += WIDTH<T>) {
        const Vec<T> slope = load(alpha + j);
        for (long i = 0; i < rows; ++i) {
            const Vec<T> here = load(z + i * ld + j);
            store(a + i * ld + j, here > T(0) ? here : here * slope);
        }
    }
}

template <class T>
void prelu_back(long rows, long columns, const T* z, const T* alpha, const T* da, T* dz, T* dalpha, long ld) {
    for (long j = 0; j < columns; j += WIDTH<T>) {
        const Vec<T> slope = load(alpha + j);
        Vec<T> total = {};
        for (long i = 0; i < rows; ++i) {
            const Vec<T> here = load(z + i * ld + j), arriving = load(da + i * ld + j);
            total += arriving * (here < T(0) ? here : Vec<T>{});
            if (dz) store(dz + i * ld + j, here > T(0) ? arriving : arriving * slope);
        }
        const long left = columns - j;
        if (left >= WIDTH<T>) store(dalpha + j, total);
        else store_part(dalpha + j, total, left);
    }
}

}  // namespace chainrule::CHAINRULE_ISA
