// Blocks of samples, transposed: one sample per lane, so that sums over a sample's outputs are
// elementwise sums of vectors.
#pragma once

#include "../blocks.h"
#include "../loss.h"

namespace chainrule::CHAINRULE_ISA {

// A block has predictions z of `outputs` vectors and targets t (as many, or `columns` vectors); a
// loss writes the derivatives to d and returns the samples' losses.
template <class T> struct Block {
    long outputs, columns;
    T* z;        // some losses overwrite them
    const T* t;
    T* d;
    T* scratch;  // room for `outputs` vectors

    INLINE Vec<T> at(const T* from, long k) const { return load(from + k * WIDTH<T>); }
    INLINE void put(long k, Vec<T> v) const { store(d + k * WIDTH<T>, v); }
};

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

// `Own` defines of(block), and perhaps how its targets are read.
template <class T, class Own> struct BlockLoss : Loss<T> {
    bool compute(const LossBatch<T>& w) const override {
        constexpr long W = WIDTH<T>;
        const Own& own = static_cast<const Own&>(*this);
        T *z = w.scratch, *d = z + w.outputs * W, *scratch = d + w.outputs * W, *t = scratch + w.outputs * W;
        bool known = true;
        for (long first = 0; first < w.samples; first += W) {
            const long here = w.samples - first < W ? w.samples - first : W;
            transpose(here, w.outputs, w.z + first * w.z_ld, w.z_ld, z);
            known &= own.read_targets(w, first, here, t);
            const Block<T> block{w.outputs, w.target_width, z, t, d, scratch};
            Vec<T> losses = own.of(block), times = broadcast(1 / w.whole);
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

    INLINE bool read_targets(const LossBatch<T>& w, long first, long here, T* t) const {
        if (w.classes) return one_hot(here, w.outputs, w.target + first, t);
        transpose(here, w.target_width, w.target + first * w.target_width, w.target_width, t);
        return true;
    }
};

// A loss whose classes may have weights. `Own` says how many classes there are.
template <class T, class Own> struct ClassLoss : BlockLoss<T, Own> {
    List<double> weights;
    explicit ClassLoss(const Settings& s) : weights(s.numbers("class_weights")) {}

    INLINE T weight(long k) const { return weights.count ? T(weights.data[k]) : T(1); }
    INLINE long classes(long outputs) const { return outputs == 1 ? 2 : outputs; }
    void check(long outputs, long target_width, bool by_class) const override {
        Loss<T>::check(outputs, target_width, by_class);
        require(!weights.count || weights.count == static_cast<const Own&>(*this).classes(outputs),
                "there must be one weight for each class");
    }
};

}  // namespace chainrule::CHAINRULE_ISA
