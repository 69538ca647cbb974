// The product of the matrices of each sample, as in layers/operators.py.
//
// Settings: inner: the columns of the first and the rows of the second.
#include "../product.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct MatMul : Operation<T> {
    const Record<T>& record;
    const Value<T>&a, &b, &y;
    long matrices, m, k;  // y has m rows in each
    explicit MatMul(const Record<T>& r)
        : record(r), a(r.input(0)), b(r.input(1)), y(r.output()), matrices(long(r.number("matrices"))),
          m(y.rows / matrices), k(a.width) {
        require(matrices > 0 && y.rows == matrices * m && a.rows == y.rows && b.rows == matrices * k &&
                    b.width == y.width, "the matrices of a product fit together");
    }

    void forward(const Pass<T>& p) override {
        each(p, [&](long at) {
            run(p, {m, y.width, k, a_of(a.value, at), a.ld, 1, b_of(b.value, at), b.ld, 1, y_of(y.value, at), y.ld});
        });
    }
    void backward(const Pass<T>& p) override {
        each(p, [&](long at) {
            const T* const dy = y_of(y.gradient, at);
            if (record.wants(0)) run(p, {m, k, y.width, dy, y.ld, 1, b_of(b.value, at), 1, b.ld, a_of(a.gradient, at), a.ld});
            if (record.wants(1)) run(p, {k, y.width, m, a_of(a.value, at), 1, a.ld, dy, y.ld, 1, b_of(b.gradient, at), b.ld});
        });
    }

  private:
    INLINE T* a_of(T* data, long at) const { return data + at * m * a.ld; }
    INLINE T* b_of(T* data, long at) const { return data + at * k * b.ld; }
    INLINE T* y_of(T* data, long at) const { return data + at * m * y.ld; }
    template <class F> INLINE void each(const Pass<T>& p, F f) const {
        const Range own = p.share(p.samples * matrices, 1);
        for (long at = own.from; at < own.to; ++at) f(at);
    }
    void run(const Pass<T>& p, Product<T> work) const {
        work.whole = false;
        work.pack = p.pack;
        product(work);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(matmul, MatMul)
