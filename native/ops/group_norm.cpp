// GroupNorm, as in layers/normalization.py: over all positions of a sample and a group of channels.
//
// Sums go over positions first, for each channel on its own, and then over the channels of a group.
// Settings: groups, epsilon.
#include <cmath>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct GroupNorm : Operation<T> {
    typedef Vec<T> V;
    const Value<T>&x, &y;
    long scale, offset, groups, size;  // size: channels of a group
    T epsilon;
    bool wants_input;
    T *mean, *inverse;  // of each sample, for each channel
    explicit GroupNorm(const Record<T>& r)
        : x(r.input()), y(r.output()), scale(r.parameter("scale", x.width)), offset(r.parameter("offset", x.width)),
          groups(long(r.number("groups"))), size(groups > 0 ? x.width / groups : 0), epsilon(T(r.number("epsilon"))),
          wants_input(r.wants()), mean(r.memory(r.max_samples() * x.width)),
          inverse(r.memory(r.max_samples() * x.width)) {
        require(x.rows == y.rows && x.ld == y.ld && size * groups == x.width, "channels must be whole groups");
    }

    long scratch() const override { return 2 * x.width; }

    void forward(const Pass<T>& p) override {
        const Range own = p.share(p.samples, 1);
        T* const sums = p.scratch;
        for (long sample = own.from; sample < own.to; ++sample) {
            const T* from = x.value + sample * x.rows * x.ld;
            T *const to = y.value + sample * x.rows * x.ld, *const middle = mean + sample * x.width;
            T *const by = inverse + sample * x.width;
            for_channels([=](long c, auto get, auto put) {
                V sum = {};
                for (long i = 0; i < x.rows; ++i) sum += get(from + i * x.ld + c);
                put(sums + c, sum);
            });
            mean_of_groups(sums, middle);
            for_channels([=](long c, auto get, auto put) {
                V squares = {};
                for (long i = 0; i < x.rows; ++i) {
                    const V apart = get(from + i * x.ld + c) - get(middle + c);
                    squares += apart * apart;
                }
                put(sums + c, squares);
            });
            mean_of_groups(sums, by);
            for (long c = 0; c < x.width; ++c) by[c] = 1 / std::sqrt(by[c] + epsilon);
            const T *const gamma = p.w + scale, *const beta = p.w + offset;
            for (long i = 0; i < x.rows; ++i)
                for_channels([=](long c, auto get, auto put) {
                    const V unit = (get(from + i * x.ld + c) - get(middle + c)) * get(by + c);
                    put(to + i * x.ld + c, get(gamma + c) * unit + get(beta + c));
                });
        }
    }

    void backward(const Pass<T>& p) override {
        backward_parameters(p);
        if (!wants_input) return;
        const Range own = p.share(p.samples, 1);
        T *const sums = p.scratch, *const products = p.scratch + x.width;
        const T* const gamma = p.w + scale;
        for (long sample = own.from; sample < own.to; ++sample) {
            const long first = sample * x.rows * x.ld;
            const T *const from = x.value + first, *const dy = y.gradient + first;
            const T *const middle = mean + sample * x.width, *const by = inverse + sample * x.width;
            T* const dx = x.gradient + first;
            for_channels([=](long c, auto get, auto put) {
                V sum = {}, along = {};
                for (long i = 0; i < x.rows; ++i) {
                    const V here = get(dy + i * x.ld + c) * get(gamma + c);
                    sum += here;
                    along += here * ((get(from + i * x.ld + c) - get(middle + c)) * get(by + c));
                }
                put(sums + c, sum);
                put(products + c, along);
            });
            mean_of_groups(sums, sums);
            mean_of_groups(products, products);
            for (long i = 0; i < x.rows; ++i)
                for_channels([=](long c, auto get, auto put) {
                    const V unit = (get(from + i * x.ld + c) - get(middle + c)) * get(by + c);
                    const V here = get(dy + i * x.ld + c) * get(gamma + c);
                    put(dx + i * x.ld + c, (here - get(sums + c) - unit * get(products + c)) * get(by + c));
                });
        }
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_scale = scale <= at && at < scale + x.width;
        const long c = at - (of_scale ? scale : offset);
        for (long row = 0; row < p.samples * x.rows; ++row) {
            const long sample = row / x.rows, of_sample = sample * x.width + c;
            const double dy = y.gradient[row * x.ld + c];
            to[sample] += of_scale ? dy * ((x.value[row * x.ld + c] - mean[of_sample]) * inverse[of_sample]) : dy;
        }
    }

  private:
    template <class F> INLINE void for_channels(F f) const { over<T>(x.width, f); }

    // For each channel the mean over the positions and channels of its group; `means` may be `sums`.
    void mean_of_groups(const T* sums, T* means) const {
        for (long g = 0; g < groups; ++g) {
            T total = 0;
            for (long c = g * size; c < (g + 1) * size; ++c) total += sums[c];
            for (long c = g * size; c < (g + 1) * size; ++c) means[c] = total / T(x.rows * size);
        }
    }

    // Divided by channels: each thread goes through all samples in order.
    void backward_parameters(const Pass<T>& p) const {
        const Range own = p.share(x.width, MAX_LANES);
        over<T>(own.count(), [&](long j, auto get, auto put) {
            const long c = own.from + j;
            V sum = {}, along = {};
            for (long i = 0; i < p.samples * x.rows; ++i) {
                const long at = i / x.rows * x.width + c;
                const V dy = get(y.gradient + i * x.ld + c);
                sum += dy;
                along += dy * ((get(x.value + i * x.ld + c) - get(mean + at)) * get(inverse + at));
            }
            put(p.g + offset + c, sum);
            put(p.g + scale + c, along);
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(group_norm, GroupNorm)
