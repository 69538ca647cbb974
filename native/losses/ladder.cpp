// Losses of numbers that are in order, as in losses/distributional.py and losses/ordinal.py.
#include "block.h"

namespace chainrule::CHAINRULE_ISA {

// As in losses/ladder.py: `count` rungs, of which the one at `base` is an output and the others lie
// softplus steps away. Outputs, rungs and derivatives are `stride` vectors apart.
template <class T> struct Ladder {
    const Block<T>& s;
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

template <class T> struct Quantiles : BlockLoss<T, Quantiles<T>> {
    List<double> levels;
    long base;
    explicit Quantiles(const Settings& s) : levels(s.numbers("levels")), base(0) {
        const double number = s.number("base");
        require(number >= 0 && number < double(levels.count), "the base must be one of the levels");
        base = long(number);
    }

    void check(long outputs, long target_width, bool classes) const override {
        require(outputs == levels.count * target_width && !classes, "the target does not fit the loss");
    }

    Vec<T> of(const Block<T>& s) const {
        const long count = s.outputs / s.columns;
        Vec<T> loss = {};
        for (long j = 0; j < s.columns; ++j) {
            const Ladder<T> ladder{s, j, s.columns, count, base, T(1)};
            ladder.climb();
            for (long k = 0; k < count; ++k) {
                const T level = T(levels.data[k]);
                const Vec<T> d = ladder.rung(k) - s.at(s.t, j);
                const Vec<T> slope = d > T(0) ? broadcast(1 - level) : (d < T(0) ? broadcast(-level) : d);
                loss += slope * d;
                s.put(ladder.at(k), slope / T(s.outputs));
            }
            ladder.descend();
        }
        return loss / T(s.outputs);
    }
};

// Class numbers as they are; false if one is not a class.
template <class T> bool class_numbers(long samples, long classes, const T* target, T* t) {
    bool known = true;
    for (long i = 0; i < WIDTH<T>; ++i) t[i] = i < samples ? T(long(target[i])) : T(0);
    for (long i = 0; i < samples; ++i) known &= target[i] > T(-1) && target[i] < T(classes);
    return known;
}

// The target is one vector, of class numbers.
template <class T> struct Ordinal : ClassLoss<T, Ordinal<T>> {
    explicit Ordinal(const Settings& s) : ClassLoss<T, Ordinal<T>>(s) {}

    INLINE long classes(long outputs) const { return outputs + 1; }
    void check(long outputs, long target_width, bool by_class) const override {
        require(by_class, "the target does not fit the loss");
        ClassLoss<T, Ordinal<T>>::check(outputs, target_width, by_class);
    }
    INLINE bool read_targets(const LossBatch<T>& w, long first, long here, T* t) const {
        return class_numbers(here, w.outputs + 1, w.target + first, t);
    }

    Vec<T> of(const Block<T>& s) const {
        const Ladder<T> ladder{s, 0, 1, s.outputs, (s.outputs - 1) / 2, T(-1)};
        const Vec<T> t = load(s.t), none = {};
        Vec<T> loss = {};
        ladder.climb();
        for (long k = 0; k < s.outputs; ++k) {
            const Vec<T> g = ladder.rung(k);
            const Vec<T> here = t == T(k) ? broadcast(this->weight(k)) : none;
            const Vec<T> above = t == T(k + 1) ? broadcast(this->weight(k + 1)) : none;
            loss += here * softplus_of<T>(g) + above * softplus_of<T>(-g);
            s.put(k, here * sigmoid_of<T>(g) - above * sigmoid_of<T>(-g));
        }
        ladder.descend();
        for (long k = 0; k < s.outputs; ++k) {
            if (k == ladder.base) continue;
            const long between = k < ladder.base ? k + 1 : k;  // the class between two rungs
            const Vec<T> here = t == T(between) ? broadcast(this->weight(between)) : none;
            loss += here * softplus_of<T>(-ladder.z(k));
            s.put(k, s.at(s.d, k) - here * sigmoid_of<T>(-ladder.z(k)));
        }
        return loss;
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_LOSS(quantiles, Quantiles)
REGISTER_LOSS(ordinal, Ordinal)
