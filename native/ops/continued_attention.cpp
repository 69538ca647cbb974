// The causal attention of attention.cpp for texts that are continued (see texts.h): each sample is
// one new position, and the keys and values of all positions are kept from one pass to the next.
//
// Settings: heads; groups: heads of keys and values, each for heads / groups in a row; width: of queries and
// keys; features: of values; texts: how many there are; length: the most positions of a text.
#include "../operation.h"
#include "../product.h"
#include "../visible.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct ContinuedAttention : Operation<T> {
    const Value<T>&q, &k, &v, &y;
    long heads, groups, width, features, texts, length;
    long ld;           // of a row of weights, and of one of keys
    T *keys, *values;  // of each text and group: keys by columns, (width, positions); values by rows
    explicit ContinuedAttention(const Record<T>& r)
        : q(r.input(0)), k(r.input(1)), v(r.input(2)), y(r.output()), heads(long(r.number("heads"))),
          groups(long(r.number("groups"))), width(long(r.number("width"))), features(long(r.number("features"))),
          texts(long(r.number("texts"))), length(long(r.number("length"))),
          ld((length + MAX_LANES - 1) / MAX_LANES * MAX_LANES) {
        require(groups > 0 && heads % groups == 0 && width > 0 && features > 0, "heads share whole groups");
        require(texts > 0 && length > 0 && r.inputs() == 3, "texts have positions, all of which are valid");
        for (const Value<T>* value : {&q, &k, &v, &y}) require(value->rows == 1 || value->is_packed(), "heads are side by side");
        require(q.rows * q.width == heads * width && k.rows * k.width == groups * width &&
                    v.rows * v.width == groups * features && y.rows * y.width == heads * features,
                "a sample is one position of all heads");
        keys = r.memory(texts * groups * width * ld);
        values = r.memory(texts * groups * length * features);
    }

    long scratch() const override { return BLOCK * ld; }

    void forward(const Pass<T>& p) override {
        const long count = p.samples / texts, known = long(p.step);
        if (p.samples % texts || known + count > length) return p.report_invalid();
        const Range own = p.share(texts * groups, 1);
        for (long at = own.from; at < own.to; ++at) {
            const long first = at / groups * count, group = at % groups;
            T *const own_keys = keys + at * width * ld, *const own_values = values + at * length * features;
            for (long i = 0; i < count; ++i) {
                const T* const key = sample(k, first + i) + group * width;
                for (long j = 0; j < width; ++j) own_keys[j * ld + known + i] = key[j];
                std::memcpy(own_values + (known + i) * features, sample(v, first + i) + group * features,
                            size_t(features) * sizeof(T));
            }
            for (long head = group * (heads / groups); head < (group + 1) * (heads / groups); ++head)
                for (long from = 0; from < count; from += BLOCK)
                    attend(p, head, first + from, known + from, count - from < BLOCK ? count - from : BLOCK, own_keys,
                           own_values);
        }
    }

  private:
    static constexpr long BLOCK = 64;  // queries

    static INLINE T* sample(const Value<T>& value, long i) { return value.value + i * value.rows * value.ld; }
    static INLINE long distance(const Value<T>& value) { return value.rows * value.ld; }

    // Queries of a head, from one sample on, whose first is at the position `known`.
    void attend(const Pass<T>& p, long head, long first, long known, long count, const T* own_keys, const T* own_values) const {
        const long seen = known + count;
        multiply(p, {count, seen, width, sample(q, first) + head * width, distance(q), 1, own_keys, ld, 1, p.scratch, ld});
        for (long i = 0; i < count; ++i) visible_softmax(p.scratch + i * ld, known + i + 1, seen, T(1) / std::sqrt(T(width)));
        multiply(p, {count, features, seen, p.scratch, ld, 1, own_values, features, 1, sample(y, first) + head * features,
                     distance(y)});
    }
    void multiply(const Pass<T>& p, Product<T> work) const {
        work.whole = false;
        work.pack = p.pack;
        product(work);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(continued_attention, ContinuedAttention)
