// Losses of classes, as in losses/classification.py.
#include "block.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Categorical : ClassLoss<T, Categorical<T>> {
    T smoothing;
    explicit Categorical(const Settings& s)
        : ClassLoss<T, Categorical<T>>(s), smoothing(T(s.number("smoothing"))) {}

    Vec<T> of(const Block<T>& s) const {
        const T share = smoothing / T(s.outputs), rest = 1 - smoothing;
        const Vec<T> sum = exponentials(s.outputs, s.z, s.scratch), log_sum = log_of<T>(sum), by = 1 / sum;
        Vec<T> loss = {}, total = {};
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> part = (s.at(s.t, k) * rest + share) * this->weight(k);
            total += part;
            loss -= part * (s.at(s.z, k) - log_sum);
        }
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> part = (s.at(s.t, k) * rest + share) * this->weight(k);
            s.put(k, s.at(s.scratch, k) * by * total - part);
        }
        return loss;
    }
};

template <class T> struct Binary : ClassLoss<T, Binary<T>> {
    T smoothing;
    explicit Binary(const Settings& s) : ClassLoss<T, Binary<T>>(s), smoothing(T(s.number("smoothing"))) {}

    INLINE long classes(long outputs) const { return 2 * outputs; }  // two for each label

    Vec<T> of(const Block<T>& s) const {
        Vec<T> loss = {};
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> z = s.at(s.z, k), t = s.at(s.t, k) * (1 - smoothing) + smoothing / 2;
            const Vec<T> no = (1 - t) * this->weight(2 * k), yes = t * this->weight(2 * k + 1);
            loss += yes * softplus_of<T>(-z) + no * softplus_of<T>(z);
            s.put(k, (no * sigmoid_of<T>(z) - yes * sigmoid_of<T>(-z)) / T(s.outputs));
        }
        return loss / T(s.outputs);
    }
};

// A single output z is equivalent to the two logits 0 and z.
template <class T> struct Focal : ClassLoss<T, Focal<T>> {
    T focus;
    explicit Focal(const Settings& s) : ClassLoss<T, Focal<T>>(s), focus(T(s.number("focus"))) {}

    Vec<T> of(const Block<T>& s) const {
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
            weight += hot(k) * this->weight(k);
        }
        const Vec<T> tiny = broadcast(T(sizeof(T) == 4 ? 1.17549435e-38 : 2.2250738585072014e-308));
        const Vec<T> missing = -expm1_of<T>(log_p), rest = missing < tiny ? tiny : missing;
        const Vec<T> power = focus == 0 ? broadcast(T(1)) : power_of<T>(rest, focus);
        Vec<T> slope = -power;
        if (focus != 0) slope += exp_of<T>(log_p) * power_of<T>(rest, focus - 1) * log_p * focus;
        for (long k = single ? 1 : 0; k < classes; ++k)
            s.put(single ? 0 : k, weight * slope * (hot(k) - s.at(e, k) * by));
        return -weight * power * log_p;
    }
};

template <class T> struct KullbackLeibler : BlockLoss<T, KullbackLeibler<T>> {
    explicit KullbackLeibler(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
        Vec<T> loss = {};
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> t = s.at(s.t, k);
            loss += (t > T(0) ? t * log_of<T>(t) : Vec<T>{}) - t * s.at(s.z, k);
            s.put(k, -t);
        }
        return loss;
    }
};

template <class T, bool SQUARED> INLINE Vec<T> hinge_cost(Vec<T> shortfall) {
    return SQUARED ? shortfall * shortfall : shortfall;
}
template <class T, bool SQUARED> INLINE Vec<T> hinge_slope(Vec<T> shortfall) {
    if (SQUARED) return shortfall * 2;
    return shortfall > T(0) ? broadcast(T(1)) : Vec<T>{};
}

template <class T, bool SQUARED> struct AnyHinge : BlockLoss<T, AnyHinge<T, SQUARED>> {
    explicit AnyHinge(const Settings&) {}

    Vec<T> of(const Block<T>& s) const {
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
};
template <class T> using Hinge = AnyHinge<T, false>;
template <class T> using SquaredHinge = AnyHinge<T, true>;

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_LOSS(categorical, Categorical)
REGISTER_LOSS(binary, Binary)
REGISTER_LOSS(focal, Focal)
REGISTER_LOSS(kullback_leibler, KullbackLeibler)
REGISTER_LOSS(hinge, Hinge)
REGISTER_LOSS(squared_hinge, SquaredHinge)
