// BatchNorm, as in layers/normalization.py, or ReLU of that.
//
// Sums over rows go chunk by chunk, and then over the chunks, in the same order for any number of
// threads. A chunk is small enough to stay in the cache while its mean, and then its squared
// deviations from that, are summed (Chan et al., 1983, combine those of several chunks).
//
// Settings: momentum, epsilon; relu: whether a ReLU is fused; lazy: whether its reader normalizes. Then
// only sums are computed here, and derivatives, which take the place of those of the output.
#include "../normalization.h"

namespace chainrule::CHAINRULE_ISA {

constexpr long CHUNK = 512;  // rows

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
    // The mean, 1 / sqrt(variance + epsilon), scale and offset of this mini-batch.
    Normalization<T> normalized;
    explicit BatchNorm(const Record<T>& r)
        : x(r.input()), y(r.output()), scale(r.parameter("scale", x.width)), offset(r.parameter("offset", x.width)),
          mean(r.statistic("mean", x.width)), variance(r.statistic("variance", x.width)),
          momentum(T(r.number("momentum"))), epsilon(T(r.number("epsilon"))), relu(r.flag("relu")),
          wants_input(r.wants()), lazy(r.flag("lazy")), sums(r.memory(chunks(r.max_samples() * x.rows) * x.width)),
          squares(r.memory(chunks(r.max_samples() * x.rows) * x.width)),
          normalized{r.memory(x.width), r.memory(x.width), r.memory(x.width), r.memory(x.width), relu} {
        require(x.rows == y.rows && x.ld == y.ld, "a normalization keeps the shape");
    }

    long scratch() const override { return 2 * x.width; }
    bool shares_value() const override { return lazy; }
    bool shares_gradient() const override { return lazy; }
    const Normalization<T>* normalization() const override { return lazy ? &normalized : nullptr; }

    void forward(const Pass<T>& p) override {
        const long rows = p.samples * x.rows, width = x.width;
        if (p.training) {
            const Range own = p.share(chunks(rows), 1);
            for (long chunk = own.from; chunk < own.to; ++chunk) moments(rows, chunk);
            p.wait();
        }
        if (p.t == 0) over<T>(width, [&](long j, auto get, auto put) {
            V here, spread;
            if (!p.training) {
                here = get(p.statistics + mean + j);
                spread = get(p.statistics + variance + j);
            } else {
                V sum = {}, squared = {};
                for (long chunk = 0; chunk < chunks(rows); ++chunk) sum += get(sums + chunk * width + j);
                here = sum / T(rows);
                for (long chunk = 0; chunk < chunks(rows); ++chunk) {
                    const V apart = get(sums + chunk * width + j) / T(count(rows, chunk)) - here;
                    squared += get(squares + chunk * width + j) + apart * apart * T(count(rows, chunk));
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
        const long rows = p.samples * x.rows, width = x.width;
        const Range own_chunks = p.share(chunks(rows), 1);
        for (long chunk = own_chunks.from; chunk < own_chunks.to; ++chunk) products(rows, chunk);
        p.wait();
        T *const sum = p.scratch, *const product = p.scratch + width;
        over<T>(width, [&](long j, auto get, auto put) {
            V dy = {}, along = {};
            for (long chunk = 0; chunk < chunks(rows); ++chunk) {
                dy += get(sums + chunk * width + j);
                along += get(squares + chunk * width + j);
            }
            put(sum + j, dy / T(rows));
            put(product + j, along / T(rows));
            if (p.t) return;
            put(p.g + offset + j, dy);
            put(p.g + scale + j, along);
        });
        if (!wants_input) return;
        const Range own = p.rows(x);
        const Normalization<T> as = normalized;
        for (long i = own.from; i < own.to; ++i) {
            const T* const from = x.value + i * x.ld;
            const T* const dy = y.gradient + i * x.ld;
            T* const dx = x.gradient + i * x.ld;  // in the same place, if lazy
            over<T>(width, [=](long j, auto get, auto put) {
                const V unit = (get(from + j) - get(as.mean + j)) * get(as.by + j), times = get(as.times + j);
                V here = get(dy + j);
                if (as.relu) here = times * unit + get(as.plus + j) > T(0) ? here : V{};
                put(dx + j, times * get(as.by + j) * (here - get(sum + j) - unit * get(product + j)));
            });
        }
    }

  private:
    static INLINE long chunks(long rows) { return (rows + CHUNK - 1) / CHUNK; }
    static INLINE long count(long rows, long chunk) {
        return rows - chunk * CHUNK < CHUNK ? rows - chunk * CHUNK : CHUNK;
    }

    // A chunk's sums of x, and of the squared deviations from its mean.
    void moments(long rows, long chunk) const {
        const T* from = x.value + chunk * CHUNK * x.ld;
        const long here = count(rows, chunk);
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
    void products(long rows, long chunk) const {
        const long here = count(rows, chunk);
        const Normalization<T> as = normalized;
        over_columns<T>(x.width, [&](auto vectors, long j, auto get, auto put) INLINE_LAMBDA {
            constexpr int N = decltype(vectors)::COUNT;
            V total[N] = {}, along[N] = {};
            for (long i = chunk * CHUNK; i < chunk * CHUNK + here; ++i)
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
