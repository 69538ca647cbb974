// BatchNorm, as in layers/normalization.py, or ReLU of that.
//
// Sums over rows go chunk by chunk (see chunks.h): a chunk stays in the cache while its mean, and then
// its squared deviations from that, are summed (Chan et al., 1983, combine those of several chunks).
// What writes the input, or the output's gradient, shows the chunks if it can; otherwise they are
// read again.
//
// Settings: momentum, epsilon; relu: whether a ReLU is fused; lazy: whether its reader normalizes. Then
// only sums are computed here. Derivatives take the place of those of the output, or what wrote the
// input computes them, too.
#include "../normalization.h"

namespace chainrule::CHAINRULE_ISA {

template <int N> struct Vectors { static constexpr int COUNT = N; };

// Calls f(vectors, j, get, put) for COUNT vectors of columns from j on: several at a time as long as
// there are so many, so that one addition need not wait for the last.
template <class T, class F> INLINE void over_columns(long columns, F f) {
    constexpr long W = WIDTH<T>;
    const auto get = [](const T* from) INLINE_LAMBDA { return load(from); };
    const auto put = [](T* to, Vec<T> v) INLINE_LAMBDA { store(to, v); };
    long j = 0;
    for (; j + 4 * W <= columns; j += 4 * W) f(Vectors<4>(), j, get, put);
    for (; j + W <= columns; j += W) f(Vectors<1>(), j, get, put);
    if (const long left = columns - j)
        f(Vectors<1>(), j, [left](const T* from) INLINE_LAMBDA { return load_part(from, left); },
          [left](T* to, Vec<T> v) INLINE_LAMBDA { store_part(to, v, left); });
}

template <class T> struct BatchNorm : Operation<T> {
    typedef Vec<T> V;
    const Value<T>&x, &y;
    long scale, offset, mean, variance;
    T momentum, epsilon;
    bool relu, wants_input, lazy;
    T *sums, *squares;             // of each chunk; backward: of dy, and of dy times the normalized x
    double* of_ranks;              // both, of all ranks
    // The mean, 1 / sqrt(variance + epsilon), scale and offset of this mini-batch.
    Normalization<T> normalized;
    BackNormalization<T> back;
    explicit BatchNorm(const Record<T>& r)
        : x(r.input()), y(r.output()), scale(r.parameter("scale", x.width)), offset(r.parameter("offset", x.width)),
          mean(r.statistic("mean", x.width)), variance(r.statistic("variance", x.width)),
          momentum(T(r.number("momentum"))), epsilon(T(r.number("epsilon"))), relu(r.flag("relu")),
          wants_input(r.wants()), lazy(r.flag("lazy")), sums(r.memory(x.chunks().count(r.max_samples()) * x.width)),
          squares(r.memory(x.chunks().count(r.max_samples()) * x.width)),
          of_ranks(reinterpret_cast<double*>(r.memory(2 * x.width * long(sizeof(double) / sizeof(T))))),
          normalized{r.memory(x.width), r.memory(x.width), r.memory(x.width), r.memory(x.width), relu},
          back{&normalized, r.memory(x.width), r.memory(x.width)} {
        require(x.rows == y.rows && x.ld == y.ld, "a normalization keeps the shape");
    }

    bool shares_value() const override { return lazy; }
    bool shares_gradient() const override { return lazy; }
    const Normalization<T>* normalization() const override { return lazy ? &normalized : nullptr; }
    const BackNormalization<T>* back_normalization() const override { return lazy ? &back : nullptr; }
    bool looks() const override { return true; }
    void look_at_values(long chunk, long samples) override { moments(chunk, samples); }
    void look_at_gradients(long chunk, long samples) override { products(chunk, samples); }

    void forward(const Pass<T>& p) override {
        const long rows = (p.ranks ? p.whole : p.samples) * x.rows, width = x.width;
        const long chunks = x.chunks().count(p.samples);
        if (p.training && !x.values_shown) {
            const Range own = p.share(chunks, 1);
            for (long chunk = own.from; chunk < own.to; ++chunk) moments(chunk, p.samples);
            p.wait();
        }
        if (p.t == 0 && p.training && p.ranks) combine_moments(p, rows);
        if (p.t == 0) over<T>(width, [&](long j, auto get, auto put) {
            V here, spread;
            if (p.training && p.ranks) {
                here = get(normalized.mean + j);
                spread = get(normalized.by + j);
            } else if (!p.training) {
                here = get(p.statistics + mean + j);
                spread = get(p.statistics + variance + j);
            } else {
                V sum = {}, squared = {};
                for (long chunk = 0; chunk < chunks; ++chunk) sum += get(sums + chunk * width + j);
                here = sum / T(rows);
                for (long chunk = 0; chunk < chunks; ++chunk) {
                    const T count = T(x.chunks().rows_of(chunk, p.samples).count());
                    const V apart = get(sums + chunk * width + j) / count - here;
                    squared += get(squares + chunk * width + j) + apart * apart * count;
                }
                spread = squared / T(rows);
            }
            put(normalized.mean + j, here);
            put(normalized.by + j, 1 / sqrt_of(spread + epsilon));
            put(normalized.times + j, get(p.w + scale + j));
            put(normalized.plus + j, get(p.w + offset + j));
            if (p.training) {
                const V unbiased = spread * (T(rows) / T(rows > 1 ? rows - 1 : 1));
                T *const running_mean = p.statistics + mean + j, *const running_variance = p.statistics + variance + j;
                put(running_mean, get(running_mean) * momentum + here * (1 - momentum));
                put(running_variance, get(running_variance) * momentum + unbiased * (1 - momentum));
            }
        });
        if (lazy) return;
        p.wait();
        const Range own = p.rows(x);
        normalize_rows(own.count(), width, x.value + own.from * x.ld, x.ld, normalized, 0, y.value + own.from * x.ld, x.ld);
    }

    void backward(const Pass<T>& p) override {
        const long rows = (p.ranks ? p.whole : p.samples) * x.rows, width = x.width;
        const long chunks = x.chunks().count(p.samples);
        if (!y.gradients_shown) {
            const Range own = p.share(chunks, 1);
            for (long chunk = own.from; chunk < own.to; ++chunk) products(chunk, p.samples);
            p.wait();
        }
        if (p.t == 0) over<T>(width, [&](long j, auto get, auto put) {
            V dy = {}, along = {};
            for (long chunk = 0; chunk < chunks; ++chunk) {
                dy += get(sums + chunk * width + j);
                along += get(squares + chunk * width + j);
            }
            put(back.mean_dy + j, dy / T(rows));
            put(back.mean_along + j, along / T(rows));
            put(p.g + offset + j, dy);
            put(p.g + scale + j, along);
        });
        if (p.t == 0 && p.ranks) combine_products(p, rows);
        if (!wants_input || x.back) return;
        p.wait();
        const Range own = p.rows(x);
        const long at = own.from * x.ld;
        back_normalize_rows(own.count(), width, x.value + at, y.gradient + at, x.ld, back, x.gradient + at, x.ld);
    }

    bool adds_over_ranks() const override { return true; }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_scale = scale <= at && at < scale + x.width;
        const long c = at - (of_scale ? scale : offset);
        for (long row = 0; row < p.samples * x.rows; ++row) {
            const T unit = (x.value[row * x.ld + c] - normalized.mean[c]) * normalized.by[c];
            const bool passes = !relu || normalized.times[c] * unit + normalized.plus[c] > T(0);
            const double dy = passes ? y.gradient[row * y.ld + c] : T(0);
            to[row / x.rows] += of_scale ? dy * unit : dy;
        }
    }

  private:
    // The mean and the variance over all ranks. Each adds up x and its square, apart from the running
    // mean, which all have, so that little cancels.
    void combine_moments(const Pass<T>& p, long rows) const {
        const long width = x.width, chunks = x.chunks().count(p.samples);
        const T* const middle = p.statistics + mean;
        for (long j = 0; j < width; ++j) {
            double sum = 0, squared = 0;
            for (long chunk = 0; chunk < chunks; ++chunk) {
                const double count = double(x.chunks().rows_of(chunk, p.samples).count());
                const double here = double(sums[chunk * width + j]) - count * double(middle[j]);
                if (count > 0) squared += double(squares[chunk * width + j]) + here * here / count;
                sum += here;
            }
            of_ranks[j] = sum;
            of_ranks[width + j] = squared;
        }
        p.add_over_ranks(of_ranks, 2 * width);
        for (long j = 0; j < width; ++j) {
            const double apart = of_ranks[j] / double(rows), spread = of_ranks[width + j] / double(rows) - apart * apart;
            normalized.mean[j] = T(double(middle[j]) + apart);
            normalized.by[j] = T(spread < 0 ? 0 : spread);
        }
    }
    // The means of dy, and of dy times the normalized x, over all ranks.
    void combine_products(const Pass<T>& p, long rows) const {
        const long width = x.width;
        for (long j = 0; j < width; ++j) {
            of_ranks[j] = double(p.g[offset + j]);
            of_ranks[width + j] = double(p.g[scale + j]);
        }
        p.add_over_ranks(of_ranks, 2 * width);
        for (long j = 0; j < width; ++j) {
            back.mean_dy[j] = T(of_ranks[j] / double(rows));
            back.mean_along[j] = T(of_ranks[width + j] / double(rows));
        }
    }
    // A chunk's sums of x, and of the squared deviations from its mean.
    void moments(long chunk, long samples) const {
        const Range rows = x.chunks().rows_of(chunk, samples);
        const T* from = x.value + rows.from * x.ld;
        const long here = rows.count();
        over_columns<T>(x.width, [&](auto vectors, long j, auto get, auto put) INLINE_LAMBDA {
            constexpr int N = decltype(vectors)::COUNT;
            V total[N] = {}, squared[N] = {}, middle[N];
            for (long i = 0; i < here; ++i)
                for (int k = 0; k < N; ++k) total[k] += get(from + i * x.ld + j + k * WIDTH<T>);
            for (int k = 0; k < N; ++k) middle[k] = total[k] / T(here);
            for (long i = 0; i < here; ++i)
                for (int k = 0; k < N; ++k) {
                    const V apart = get(from + i * x.ld + j + k * WIDTH<T>) - middle[k];
                    squared[k] += apart * apart;
                }
            for (int k = 0; k < N; ++k) {
                put(sums + chunk * x.width + j + k * WIDTH<T>, total[k]);
                put(squares + chunk * x.width + j + k * WIDTH<T>, squared[k]);
            }
        });
    }
    // A chunk's sums of dy, and of dy times the normalized x.
    void products(long chunk, long samples) const {
        const Range rows = x.chunks().rows_of(chunk, samples);
        const Normalization<T> as = normalized;
        over_columns<T>(x.width, [&](auto vectors, long j, auto get, auto put) INLINE_LAMBDA {
            constexpr int N = decltype(vectors)::COUNT;
            V total[N] = {}, along[N] = {};
            for (long i = rows.from; i < rows.to; ++i)
                for (int k = 0; k < N; ++k) {
                    const long column = j + k * WIDTH<T>, at = i * x.ld + column;
                    const V unit = (get(x.value + at) - get(as.mean + column)) * get(as.by + column);
                    V dy = get(y.gradient + at);
                    if (as.relu) dy = get(as.times + column) * unit + get(as.plus + column) > T(0) ? dy : V{};
                    total[k] += dy;
                    along[k] += dy * unit;
                }
            for (int k = 0; k < N; ++k) {
                put(sums + chunk * x.width + j + k * WIDTH<T>, total[k]);
                put(squares + chunk * x.width + j + k * WIDTH<T>, along[k]);
            }
        });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(batch_norm, BatchNorm)
