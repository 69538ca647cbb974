// MaskedSoftmax, as in layers/softmax.py: row by row. A second input has the number of valid keys of
// each sample.
//
// Settings: queries; causal.
#include <cstring>

#include "../copies.h"
#include "../operation.h"
#include "../visible.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct MaskedSoftmax : Operation<T> {
    const Record<T>& record;
    const Value<T>&x, &y;
    long queries, keys;
    bool causal;
    explicit MaskedSoftmax(const Record<T>& r)
        : record(r), x(r.input()), y(r.output()), queries(long(r.number("queries"))), keys(x.width),
          causal(r.flag("causal")) {
        require(queries > 0 && x.rows % queries == 0 && x.rows == y.rows && x.ld == y.ld && keys == y.width,
                "a softmax keeps the shape");
        require(!causal || queries <= keys, "queries belong to the last positions of the keys");
        require(r.inputs() == 1 || (r.inputs() == 2 && r.input(1).rows == 1 && r.input(1).width == 1),
                "lengths are one number for each sample");
    }

    long scratch() const override { return keys + MAX_LANES; }
    void forward(const Pass<T>& p) override {
        const Range own = p.rows(x);
        for (long i = own.from; i < own.to; ++i) {
            copy(keys, x.value + i * x.ld, p.scratch);
            visible_softmax<T>(p.scratch, seen(i), keys, 1);
            copy(keys, p.scratch, y.value + i * y.ld);
        }
    }
    void backward(const Pass<T>& p) override {
        if (record.wants(0)) {
            const Range own = p.rows(x);
            for (long i = own.from; i < own.to; ++i) derive(y.value + i * y.ld, y.gradient + i * y.ld, x.gradient + i * x.ld);
        }
        if (record.inputs() == 1 || !record.wants(1)) return;
        const Range own = p.share(p.samples, 1);
        const Value<T>& lengths = record.input(1);
        for (long s = own.from; s < own.to; ++s) std::memset(lengths.gradient + s * lengths.ld, 0, sizeof(T));
    }

  private:
    long seen(long row) const {
        const bool has_lengths = record.inputs() == 2;
        const long valid = has_lengths ? valid_keys(record.input(1).value[row / x.rows * record.input(1).ld], keys) : keys;
        return visible(row % queries, queries, keys, causal, valid);
    }
    void derive(const T* a, const T* da, T* dz) const {
        Vec<T> lanes = {};
        over<T>(keys, [&](long j, auto get, auto) INLINE_LAMBDA { lanes += get(a + j) * get(da + j); });
        const T mean = sum_of<T>(lanes);
        over<T>(keys, [&](long j, auto get, auto put) INLINE_LAMBDA { put(dz + j, get(a + j) * (get(da + j) - mean)); });
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(masked_softmax, MaskedSoftmax)
