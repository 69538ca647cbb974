// Sums and products of values of different shapes, as in layers/operators.py: an entry of an input is
// read by one or more of the output.
//
// Settings: product: whether it is a product, which has two factors; from: for each input and each number
// of the output which number of the input it reads.
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Broadcast : Operation<T> {
    const Record<T>& record;
    const Value<T>& y;
    bool product;
    long count;
    List<int64_t> from;
    explicit Broadcast(const Record<T>& r)
        : record(r), y(r.output()), product(r.flag("product")), count(y.rows * y.width), from(r.whole_numbers("from")) {
        require(from.count == r.inputs() * count, "each number of the output reads one of each input");
        require(!product || r.inputs() == 2, "a product has two factors");
        for (long i = 0; i < r.inputs(); ++i)
            for (long k = 0; k < count; ++k)
                require(0 <= source(i, k) && source(i, k) < r.input(i).rows * r.input(i).width,
                        "an entry lies outside of the input");
    }

    void forward(const Pass<T>& p) override {
        each(p, [&](long s, long k, T& to) {
            T total = read(0, s, k);
            for (long i = 1; i < record.inputs(); ++i) total = product ? total * read(i, s, k) : total + read(i, s, k);
            to = total;
        }, y.value);
    }
    void backward(const Pass<T>& p) override {
        const Range own = p.share(p.samples, 1);
        for (long i = 0; i < record.inputs(); ++i) {
            if (!record.wants(i)) continue;
            const Value<T>& x = record.input(i);
            std::memset(x.gradient + own.from * x.rows * x.ld, 0, size_t(own.count() * x.rows * x.ld) * sizeof(T));
            each(p, [&](long s, long k, T& dy) { *at(x, x.gradient, s, source(i, k)) += product ? dy * read(1 - i, s, k) : dy; },
                 y.gradient);
        }
    }

  private:
    INLINE long source(long i, long k) const { return long(from.data[i * count + k]); }
    INLINE T* at(const Value<T>& v, T* data, long s, long k) const {
        return data + (s * v.rows + k / v.width) * v.ld + k % v.width;
    }
    INLINE T read(long i, long s, long k) const {
        const Value<T>& x = record.input(i);
        return *at(x, x.value, s, source(i, k));
    }
    // Calls f(sample, number, number of y's data) for this thread's samples.
    template <class F> INLINE void each(const Pass<T>& p, F f, T* data) const {
        const Range own = p.share(p.samples, 1);
        for (long s = own.from; s < own.to; ++s)
            for (long k = 0; k < count; ++k) f(s, k, *at(y, data, s, k));
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(broadcast, Broadcast)
