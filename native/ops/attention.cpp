// softmax(q k' / sqrt(width)) v for each head, as in layers/attention.py, block by block of queries.
// Where the weights take more memory than queries, keys, values and outputs, they are in scratch only;
// backward they are computed again from the logarithm of their sum, and so are the masks that drop some.
//
// Settings: heads; groups: heads of keys and values, each for heads / groups in a row; queries, keys;
// width: of queries and keys; features: of values; causal: whether query i sees only keys up to
// i + keys - queries; q_head, q_time and so on: how far apart heads and positions of q, k, v and y
// are; and, if weights are dropped, those of dropout. A fourth input has the number of valid keys of each
// sample.
#include "../masks.h"
#include "../operation.h"
#include "../product.h"
#include "../visible.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Attention : Operation<T> {
    // Heads and positions of a value or of its gradient.
    struct Layout {
        long head, time;
    };
    const Record<T>& record;
    const Value<T>&q, &k, &v, &y;
    long heads, groups, queries, keys, width, features;
    bool causal, drops;
    Masks<T> masks;
    Layout of_q, of_k, of_v, of_y;
    long ld;      // of a row of weights
    T* log_sums;  // of each query's unnormalized weights
    T* kept;      // the weights, or null
    explicit Attention(const Record<T>& r)
        : record(r), q(r.input(0)), k(r.input(1)), v(r.input(2)), y(r.output()), heads(long(r.number("heads"))),
          groups(long(r.number("groups"))), queries(long(r.number("queries"))), keys(long(r.number("keys"))),
          width(long(r.number("width"))), features(long(r.number("features"))), causal(r.flag("causal")),
          drops(r.has("threshold")), masks(drops ? Masks<T>(r) : Masks<T>()), of_q(layout(r, "q_head", "q_time")), of_k(layout(r, "k_head", "k_time")), of_v(layout(r, "v_head", "v_time")),
          of_y(layout(r, "y_head", "y_time")), ld((keys + MAX_LANES - 1) / MAX_LANES * MAX_LANES),
          log_sums(r.memory(r.max_samples() * heads * queries)),
          kept(ld <= 2 * (width + features) ? r.memory(r.max_samples() * heads * queries * ld) : nullptr) {
        require(groups > 0 && heads % groups == 0 && queries > 0 && keys > 0, "heads share whole groups");
        require(!causal || queries <= keys, "queries belong to the last positions of the keys");
        check(q, of_q, heads, queries, width);
        check(k, of_k, groups, keys, width);
        check(v, of_v, groups, keys, features);
        check(y, of_y, heads, queries, features);
        require(r.inputs() == 3 || (r.inputs() == 4 && r.input(3).rows == 1 && r.input(3).width == 1),
                "lengths are one number for each sample");
    }

    long scratch() const override { return (drops ? 3 : 2) * BLOCK * ld; }

    void forward(const Pass<T>& p) override {
        each_group(p, [&](long sample, long group) {
            const long last = length(p, sample);
            for (long head = group * (heads / groups); head < (group + 1) * (heads / groups); ++head)
                for (long from = 0; from < queries; from += BLOCK) {
                    const long count = queries - from < BLOCK ? queries - from : BLOCK;
                    const long seen = sees(from + count - 1, last);
                    T *const to = at(y, y.value, of_y, sample, head, from), *weights = weights_of(p, sample, head, from);
                    scores(p, sample, head, group, from, count, seen, weights);
                    for (long i = 0; i < count; ++i)
                        log_sums[row(sample, head, from + i)] =
                            visible_softmax(weights + i * ld, sees(from + i, last), seen, scale());
                    if (drops && p.training) {
                        write_masks(p, row(sample, head, from), count, seen);
                        drop(p, count, seen, weights, p.scratch);
                        weights = p.scratch;
                    }
                    if (seen) multiply(p, {count, features, seen, weights, ld, 1, at(v, v.value, of_v, sample, group, 0),
                                           of_v.time, 1, to, of_y.time});
                    else for (long i = 0; i < count; ++i)
                        for (long j = 0; j < features; ++j) to[i * of_y.time + j] = 0;
                }
        });
    }

    void backward(const Pass<T>& p) override {
        each_group(p, [&](long sample, long group) {
            const long last = length(p, sample);
            T* const dk = record.wants(1) ? at(k, k.gradient, of_k, sample, group, 0) : nullptr;
            T* const dv = record.wants(2) ? at(v, v.gradient, of_v, sample, group, 0) : nullptr;
            clear(dk, of_k, width);
            clear(dv, of_v, features);
            for (long head = group * (heads / groups); head < (group + 1) * (heads / groups); ++head)
                for (long from = 0; from < queries; from += BLOCK)
                    derive(p, sample, head, group, from, queries - from < BLOCK ? queries - from : BLOCK, last, dk, dv);
        });
    }

  private:
    static constexpr long BLOCK = 32;  // queries

    static Layout layout(const Record<T>& r, const char* head, const char* time) {
        return {long(r.number(head)), long(r.number(time))};
    }
    static void check(const Value<T>& value, Layout of, long heads, long positions, long width) {
        require(of.head >= 0 && of.time >= width && width > 0 &&
                    (heads - 1) * of.head + (positions - 1) * of.time + width <= value.rows * value.ld,
                "a head lies outside of its value");
    }
    static INLINE T* at(const Value<T>& value, T* data, Layout of, long sample, long head, long time) {
        return data + sample * value.rows * value.ld + head * of.head + time * of.time;
    }
    INLINE long row(long sample, long head, long query) const { return (sample * heads + head) * queries + query; }
    template <class F> INLINE void each_group(const Pass<T>& p, F f) const {
        const Range own = p.share(p.samples * groups, 1);
        for (long at = own.from; at < own.to; ++at) f(at / groups, at % groups);
    }
    // The number of valid keys.
    long length(const Pass<T>&, long sample) const {
        if (record.inputs() == 3) return keys;
        return valid_keys(record.input(3).value[sample * record.input(3).ld], keys);
    }
    INLINE long sees(long query, long last) const { return visible(query, queries, keys, causal, last); }
    void multiply(const Pass<T>& p, Product<T> work, bool accumulate = false) const {
        work.whole = false;
        work.accumulate = accumulate;
        work.pack = p.pack;
        product(work);
    }
    // Where the weights of a block of queries are.
    T* weights_of(const Pass<T>& p, long sample, long head, long from) const {
        return kept && p.training ? kept + row(sample, head, from) * ld : p.scratch;
    }
    void scores(const Pass<T>& p, long sample, long head, long group, long from, long count, long seen, T* to) const {
        if (!seen) return;
        Product<T> work{count, seen, width, at(q, q.value, of_q, sample, head, from), of_q.time, 1,
                        at(k, k.value, of_k, sample, group, 0), 1, of_k.time, to, ld};
        work.pack = p.pack;
        product(work);
    }
    T scale() const { return T(1) / std::sqrt(T(width)); }

    // The weights again, from the scores.
    void again(T* row, long seen, long count, T log_sum) const {
        hide(row, seen, count);
        const T by = scale();
        for (long j = 0; j < seen; j += WIDTH<T>) store(row + j, exp_of<T>(load(row + j) * by - log_sum));
    }
    // The masks of a block of queries, in the last part of the scratch.
    void write_masks(const Pass<T>& p, long first, long count, long seen) const {
        first += row(p.first, 0, 0);
        for (long i = 0; i < count; ++i) masks.write(p.step, (first + i) * keys, seen, p.scratch + (2 * BLOCK + i) * ld);
    }
    void drop(const Pass<T>& p, long count, long seen, const T* block, T* to) const {
        const T* const mask = p.scratch + 2 * BLOCK * ld;
        for (long i = 0; i < count * ld; i += ld)
            over<T>(seen, [&](long j, auto get, auto put) INLINE_LAMBDA {
                put(to + i + j, get(block + i + j) * get(mask + i + j));
            });
    }
    void clear(T* gradient, Layout of, long size) const {
        for (long j = 0; gradient && j < keys; ++j) std::memset(gradient + j * of.time, 0, size_t(size) * sizeof(T));
    }
    void derive(const Pass<T>& p, long sample, long head, long group, long from, long count, long last, T* dk, T* dv) const {
        const long seen = sees(from + count - 1, last);
        T *weights = weights_of(p, sample, head, from), *const derived = p.scratch + BLOCK * ld;
        T* const dq = record.wants(0) ? at(q, q.gradient, of_q, sample, head, from) : nullptr;
        if (!seen) {
            for (long i = 0; dq && i < count; ++i) std::memset(dq + i * of_q.time, 0, size_t(width) * sizeof(T));
            return;
        }
        const T* const dy = at(y, y.gradient, of_y, sample, head, from);
        const T* const keys_of = at(k, k.value, of_k, sample, group, 0);
        if (weights == p.scratch) scores(p, sample, head, group, from, count, seen, weights);
        for (long i = 0; weights == p.scratch && i < count; ++i)
            again(weights + i * ld, sees(from + i, last), seen, log_sums[row(sample, head, from + i)]);
        if (drops && p.training) write_masks(p, row(sample, head, from), count, seen);
        if (dq || dk) derive_scores(p, sample, group, count, seen, dy, weights);
        if (drops && p.training) {
            drop(p, count, seen, weights, p.scratch);
            weights = p.scratch;
        }
        if (dv) multiply(p, {seen, features, count, weights, 1, ld, dy, of_y.time, 1, dv, of_v.time}, true);
        if (dq) multiply(p, {count, width, seen, derived, ld, 1, keys_of, of_k.time, 1, dq, of_q.time});
        if (dk) multiply(p, {seen, width, count, derived, 1, ld, at(q, q.value, of_q, sample, head, from), of_q.time, 1, dk,
                             of_k.time}, true);
    }
    // The derivatives by the scores, from the weights, in the second half of the scratch.
    void derive_scores(const Pass<T>& p, long sample, long group, long count, long seen,
                       const T* dy, const T* weights) const {
        T* const derived = p.scratch + BLOCK * ld;
        Product<T> work{count, seen, features, dy, of_y.time, 1, at(v, v.value, of_v, sample, group, 0), 1, of_v.time,
                        derived, ld};
        work.pack = p.pack;
        product(work);
        if (drops && p.training) drop(p, count, seen, derived, derived);
        const T by = scale();
        for (long i = 0; i < count; ++i) {
            const T* const row = weights + i * ld;
            T* const d = derived + i * ld;
            Vec<T> lanes = {};
            over<T>(seen, [&](long j, auto get, auto) INLINE_LAMBDA { lanes += get(row + j) * get(d + j); });
            const T mean = sum_of<T>(lanes);
            over<T>(seen, [&](long j, auto get, auto put) INLINE_LAMBDA { put(d + j, get(row + j) * (get(d + j) - mean) * by); });
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(attention, Attention)
