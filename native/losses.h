// Losses and their derivatives, as in the files of losses/. Blocks of samples are transposed, one
// sample per lane, so that sums over a sample's outputs are elementwise sums of vectors.
//
// Each reads predictions z of `outputs` vectors and targets t (as many, or `columns` vectors), writes
// the derivatives to d and returns the samples' losses.
#pragma once

#include "blocks.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct LossInputs {
    long outputs, columns;
    T* z;        // predictions; some losses overwrite them
    const T* t;  // targets
    T* d;        // derivatives with respect to z
    T* scratch;  // room for `outputs` vectors
    T number;    // the hyperparameter (see LossWork)
    const T* numbers;  // class weights or levels, or null

    INLINE Vec<T> at(const T* from, long k) const { return load(from + k * WIDTH<T>); }
    INLINE void put(long k, Vec<T> v) const { store(d + k * WIDTH<T>, v); }
    INLINE T weight(long k) const { return numbers ? numbers[k] : T(1); }
};

template <class T> Vec<T> categorical(const LossInputs<T>& s) {
    const T share = s.number / T(s.outputs), rest = 1 - s.number;
    const Vec<T> sum = exponentials(s.outputs, s.z, s.scratch), log_sum = log_of<T>(sum), by = 1 / sum;
    Vec<T> loss = {}, total = {};
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> part = (s.at(s.t, k) * rest + share) * s.weight(k);
        total += part;
        loss -= part * (s.at(s.z, k) - log_sum);
    }
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> part = (s.at(s.t, k) * rest + share) * s.weight(k);
        s.put(k, s.at(s.scratch, k) * by * total - part);
    }
    return loss;
}

template <class T> Vec<T> binary(const LossInputs<T>& s) {
    Vec<T> loss = {};
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> z = s.at(s.z, k), t = s.at(s.t, k) * (1 - s.number) + s.number / 2;
        const Vec<T> no = (1 - t) * s.weight(2 * k), yes = t * s.weight(2 * k + 1);
        loss += yes * softplus_of<T>(-z) + no * softplus_of<T>(z);
        s.put(k, (no * sigmoid_of<T>(z) - yes * sigmoid_of<T>(-z)) / T(s.outputs));
    }
    return loss / T(s.outputs);
}

// A single output z is equivalent to the two logits 0 and z.
template <class T> Vec<T> focal(const LossInputs<T>& s) {
    constexpr long W = WIDTH<T>;
    const bool single = s.outputs == 1;
    const long classes = single ? 2 : s.outputs;
    T pair[2 * MAX_LANES], powers[2 * MAX_LANES];
    T *z = s.z, *e = s.scratch;
    if (single) {
        store(pair, Vec<T>{});
        store(pair + W, load(s.z));
        z = pair;
        e = powers;
    }
    const auto hot = [&](long k) -> Vec<T> {
        if (!single) return s.at(s.t, k);
        return k ? load(s.t) : 1 - load(s.t);
    };
    const Vec<T> sum = exponentials(classes, z, e), log_sum = log_of<T>(sum), by = 1 / sum;
    Vec<T> log_p = {}, weight = {};
    for (long k = 0; k < classes; ++k) {
        log_p += hot(k) * (s.at(z, k) - log_sum);
        weight += hot(k) * s.weight(k);
    }
    const Vec<T> tiny = broadcast(T(sizeof(T) == 4 ? 1.17549435e-38 : 2.2250738585072014e-308));
    const Vec<T> missing = -expm1_of<T>(log_p), rest = missing < tiny ? tiny : missing;
    const T focus = s.number;
    const Vec<T> power = focus == 0 ? broadcast(T(1)) : power_of<T>(rest, focus);
    Vec<T> slope = -power;
    if (focus != 0) slope += exp_of<T>(log_p) * power_of<T>(rest, focus - 1) * log_p * focus;
    for (long k = single ? 1 : 0; k < classes; ++k)
        s.put(single ? 0 : k, weight * slope * (hot(k) - s.at(e, k) * by));
    return -weight * power * log_p;
}

template <class T, bool SQUARED> INLINE Vec<T> hinge_cost(Vec<T> shortfall) {
    return SQUARED ? shortfall * shortfall : shortfall;
}
template <class T, bool SQUARED> INLINE Vec<T> hinge_slope(Vec<T> shortfall) {
    if (SQUARED) return shortfall * 2;
    return shortfall > T(0) ? broadcast(T(1)) : Vec<T>{};
}

template <class T, bool SQUARED> Vec<T> hinge(const LossInputs<T>& s) {
    if (s.outputs == 1) {
        const Vec<T> sign = s.at(s.t, 0) * 2 - 1, gap = 1 - sign * s.at(s.z, 0);
        const Vec<T> shortfall = T(0) > gap ? Vec<T>{} : gap;
        s.put(0, -sign * hinge_slope<T, SQUARED>(shortfall));
        return hinge_cost<T, SQUARED>(shortfall);
    }
    Vec<T> right = {}, loss = {}, total = {};
    for (long k = 0; k < s.outputs; ++k) right += s.at(s.t, k) * s.at(s.z, k);
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> gap = 1 - (right - s.at(s.z, k));
        const Vec<T> shortfall = (T(0) > gap ? Vec<T>{} : gap) * (1 - s.at(s.t, k));
        const Vec<T> slope = hinge_slope<T, SQUARED>(shortfall);
        loss += hinge_cost<T, SQUARED>(shortfall);
        total += slope;
        s.put(k, slope);
    }
    for (long k = 0; k < s.outputs; ++k) s.put(k, s.at(s.d, k) - s.at(s.t, k) * total);
    return loss;
}

template <class T> Vec<T> kullback_leibler(const LossInputs<T>& s) {
    Vec<T> loss = {};
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> t = s.at(s.t, k);
        loss += (t > T(0) ? t * log_of<T>(t) : Vec<T>{}) - t * s.at(s.z, k);
        s.put(k, -t);
    }
    return loss;
}

// The mean over the outputs of `of(difference, output, slope)`, which also sets the slope.
template <class T, class Of> INLINE Vec<T> averaged(const LossInputs<T>& s, Of of) {
    Vec<T> loss = {};
    for (long k = 0; k < s.outputs; ++k) {
        Vec<T> slope;
        loss += of(s.at(s.z, k) - s.at(s.t, k), k, slope);
        s.put(k, slope / T(s.outputs));
    }
    return loss / T(s.outputs);
}

template <class T> Vec<T> squared(const LossInputs<T>& s) {
    return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
        slope = d * 2;
        return d * d;
    });
}

template <class T> Vec<T> half_squares(const LossInputs<T>& s) {
    Vec<T> loss = {};
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> d = s.at(s.z, k) - s.at(s.t, k);
        loss += d * d;
        s.put(k, d);
    }
    return loss / 2;
}

template <class T> Vec<T> absolute(const LossInputs<T>& s) {
    return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
        slope = sign_of(d);
        return abs_of(d);
    });
}

template <class T> Vec<T> huber(const LossInputs<T>& s) {
    const T delta = s.number;
    return averaged(s, [delta](Vec<T> d, long, Vec<T>& slope) -> Vec<T> {
        const Vec<T> size = abs_of(d);
        slope = d < -delta ? broadcast(-delta) : (d > delta ? broadcast(delta) : d);
        return size > delta ? (size - delta / 2) * delta : size * size / 2;
    });
}

template <class T> Vec<T> log_cosh(const LossInputs<T>& s) {
    return averaged(s, [](Vec<T> d, long, Vec<T>& slope) {
        const Vec<T> size = abs_of(d);
        slope = tanh_of<T>(d);
        return size + log1p_of<T>(exp_of<T>(size * -2)) - T(0.69314718055994530942);
    });
}

template <class T> Vec<T> quantile(const LossInputs<T>& s) {
    const T level = s.number;
    return averaged(s, [level](Vec<T> d, long, Vec<T>& slope) {
        slope = d > T(0) ? broadcast(1 - level) : (d < T(0) ? broadcast(-level) : d);
        return slope * d;
    });
}

template <class T> Vec<T> poisson(const LossInputs<T>& s) {
    return averaged(s, [&s](Vec<T>, long k, Vec<T>& slope) {
        const Vec<T> z = s.at(s.z, k), t = s.at(s.t, k), rate = exp_of<T>(z);
        slope = rate - t;
        return rate - t * z;
    });
}

// As in losses/ladder.py: `count` rungs, of which the one at `base` is an output and the others lie
// softplus steps away. Outputs, rungs and derivatives are `stride` vectors apart.
template <class T> struct Ladder {
    const LossInputs<T>& s;
    long first, stride, count, base;
    T direction;

    INLINE long at(long k) const { return first + k * stride; }
    INLINE Vec<T> z(long k) const { return s.at(s.z, at(k)); }
    INLINE Vec<T> rung(long k) const { return s.at(s.scratch, at(k)); }

    INLINE void climb() const {
        store(s.scratch + at(base) * WIDTH<T>, z(base));
        for (long k = base + 1; k < count; ++k)
            store(s.scratch + at(k) * WIDTH<T>, rung(k - 1) + softplus_of<T>(z(k)) * direction);
        for (long k = base; k-- > 0;)
            store(s.scratch + at(k) * WIDTH<T>, rung(k + 1) - softplus_of<T>(z(k)) * direction);
    }

    // Turns derivatives with respect to the rungs into those with respect to z.
    INLINE void descend() const {
        Vec<T> above = {}, below = {};
        for (long k = count - 1; k > base; --k) {
            above += s.at(s.d, at(k));
            s.put(at(k), sigmoid_of<T>(z(k)) * above * direction);
        }
        for (long k = 0; k < base; ++k) {
            below += s.at(s.d, at(k));
            s.put(at(k), -sigmoid_of<T>(z(k)) * below * direction);
        }
        s.put(at(base), s.at(s.d, at(base)) + above + below);
    }
};

template <class T> Vec<T> quantiles(const LossInputs<T>& s) {
    const long levels = s.outputs / s.columns;
    Vec<T> loss = {};
    for (long j = 0; j < s.columns; ++j) {
        const Ladder<T> ladder{s, j, s.columns, levels, long(s.number), T(1)};
        ladder.climb();
        for (long k = 0; k < levels; ++k) {
            const T level = s.numbers[k];
            const Vec<T> d = ladder.rung(k) - s.at(s.t, j);
            const Vec<T> slope = d > T(0) ? broadcast(1 - level) : (d < T(0) ? broadcast(-level) : d);
            loss += slope * d;
            s.put(ladder.at(k), slope / T(s.outputs));
        }
        ladder.descend();
    }
    return loss / T(s.outputs);
}

// The target is one vector, of class numbers.
template <class T> Vec<T> ordinal(const LossInputs<T>& s) {
    const Ladder<T> ladder{s, 0, 1, s.outputs, (s.outputs - 1) / 2, T(-1)};
    const Vec<T> t = load(s.t), none = {};
    Vec<T> loss = {};
    ladder.climb();
    for (long k = 0; k < s.outputs; ++k) {
        const Vec<T> g = ladder.rung(k);
        const Vec<T> here = t == T(k) ? broadcast(s.weight(k)) : none;
        const Vec<T> above = t == T(k + 1) ? broadcast(s.weight(k + 1)) : none;
        loss += here * softplus_of<T>(g) + above * softplus_of<T>(-g);
        s.put(k, here * sigmoid_of<T>(g) - above * sigmoid_of<T>(-g));
    }
    ladder.descend();
    for (long k = 0; k < s.outputs; ++k) {
        if (k == ladder.base) continue;
        const long between = k < ladder.base ? k + 1 : k;  // the class between two rungs
        const Vec<T> here = t == T(between) ? broadcast(s.weight(between)) : none;
        loss += here * softplus_of<T>(-ladder.z(k));
        s.put(k, s.at(s.d, k) - here * sigmoid_of<T>(-ladder.z(k)));
    }
    return loss;
}

// The first half of the outputs are means; from the second half come log variances, which are not
// less than s.number, the logarithm of a floor, or minus infinity.
template <class T> Vec<T> gaussian(const LossInputs<T>& s) {
    const T lowest = s.number;
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

template <class T> Vec<T> cosine(const LossInputs<T>& s) {
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

template <class T> INLINE Vec<T> loss_of(LossKind kind, const LossInputs<T>& s) {
    switch (kind) {
        case LossKind::categorical: return categorical(s);
        case LossKind::binary: return binary(s);
        case LossKind::focal: return focal(s);
        case LossKind::hinge: return hinge<T, false>(s);
        case LossKind::squared_hinge: return hinge<T, true>(s);
        case LossKind::kullback_leibler: return kullback_leibler(s);
        case LossKind::squared: return squared(s);
        case LossKind::half_squares: return half_squares(s);
        case LossKind::absolute: return absolute(s);
        case LossKind::huber: return huber(s);
        case LossKind::log_cosh: return log_cosh(s);
        case LossKind::quantile: return quantile(s);
        case LossKind::poisson: return poisson(s);
        case LossKind::gaussian: return gaussian(s);
        case LossKind::cosine: return cosine(s);
        case LossKind::quantiles: return quantiles(s);
        case LossKind::ordinal: return ordinal(s);
    }
    return Vec<T>{};
}

// One-hot targets; false if a number is not a class.
template <class T> bool one_hot(long samples, long outputs, const T* target, T* t) {
    constexpr long W = WIDTH<T>;
    const long classes = outputs == 1 ? 2 : outputs;  // a single output has the targets 0 and 1
    bool known = true;
    for (long k = 0; k < outputs * W; ++k) t[k] = 0;
    for (long i = 0; i < samples; ++i) {
        const T number = target[i];
        const bool is_class = number > T(-1) && number < T(classes);
        known &= is_class;
        if (!is_class) continue;
        if (outputs == 1) t[i] = T(long(number));
        else t[long(number) * W + i] = 1;
    }
    return known;
}

// Class numbers as they are; false if one is not a class.
template <class T> bool class_numbers(long samples, long classes, const T* target, T* t) {
    bool known = true;
    for (long i = 0; i < WIDTH<T>; ++i) t[i] = i < samples ? T(long(target[i])) : T(0);
    for (long i = 0; i < samples; ++i) known &= target[i] > T(-1) && target[i] < T(classes);
    return known;
}

template <class T> bool loss(const LossWork<T>& w, long samples) {
    constexpr long W = WIDTH<T>;
    T *z = w.scratch, *d = z + w.outputs * W, *scratch = d + w.outputs * W, *t = scratch + w.outputs * W;
    bool known = true;
    for (long first = 0; first < samples; first += W) {
        const long here = samples - first < W ? samples - first : W;
        transpose(here, w.outputs, w.z + first * w.z_ld, w.z_ld, z);
        if (w.kind == LossKind::ordinal) known &= class_numbers(here, w.outputs + 1, w.target + first, t);
        else if (w.classes) known &= one_hot(here, w.outputs, w.target + first, t);
        else transpose(here, w.target_width, w.target + first * w.target_width, w.target_width, t);
        const LossInputs<T> inputs{w.outputs, w.target_width, z, t, d, scratch, w.number, w.numbers};
        Vec<T> losses = loss_of(w.kind, inputs), times = broadcast(1 / w.batch);
        if (w.weight) {
            const Vec<T> weights = load_part(w.weight + first, here);
            losses *= weights;
            times *= weights;
        }
        for (long i = 0; i < here; ++i) w.losses[first + i] = losses[i];
        for (long k = 0; k < w.outputs; ++k) store(d + k * W, load(d + k * W) * times);
        transpose_back(here, w.outputs, d, w.dz + first * w.dz_ld, w.dz_ld);
    }
    return known;
}

}  // namespace chainrule::CHAINRULE_ISA
