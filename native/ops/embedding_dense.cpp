// A Dense of an Embedding, where there are more indices than rows of the table: the product of each row
// is computed once, and looked up. Backward goes sample by sample, so that what arrives for a row is
// added in order, and multiplied once.
//
// Settings: count: the number of the table's rows.
#include "../copies.h"
#include "../operation.h"
#include "../product.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct EmbeddingDense : Operation<T> {
    const Value<T>&x, &y;
    long count, features, table, W, b;  // b < 0: no bias
    bool wants_input;
    T *products, *arrived;  // of each row of the table, and the derivatives by it
    explicit EmbeddingDense(const Record<T>& r)
        : x(r.input()), y(r.output()), count(long(r.number("count"))), features(long(r.number("features"))),
          table(r.parameter("table", count * features)), W(r.parameter("W", features * y.width)),
          b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), wants_input(r.wants()),
          products(r.memory(count * y.width)), arrived(r.memory(count * y.width)) {
        require(y.rows == x.rows * x.width, "an Embedding has a row of outputs for each index");
    }

    void forward(const Pass<T>& p) override {
        const long indices = p.samples * y.rows;
        const bool all = indices >= count;
        if (all) {
            Product<T> work = product_of(p, 0, count, products, y.width);
            shared_product(p, work);
            p.wait();
        }
        const Range own = p.share(indices, 1);
        for (long i = own.from; i < own.to; ++i) {
            T* const to = y.value + i * y.ld;
            const T index = index_at(i);
            const bool is_row = index >= 0 && index < T(count) && index == T(long(index));
            if (!is_row) p.report_invalid();
            const long row = is_row ? long(index) : 0;
            if (all) copy(y.width, products + row * y.width, to);
            else product(product_of(p, row, 1, to, y.ld));
        }
    }

    void backward(const Pass<T>& p) override {
        const Range c = p.share(y.width, MAX_LANES);
        for (long row = 0; row < count; ++row)
            std::memset(arrived + row * y.width + c.from, 0, size_t(c.count()) * sizeof(T));
        for (long i = 0; i < p.samples * y.rows; ++i)
            add(c.count(), y.gradient + i * y.ld + c.from, arrived + long(index_at(i)) * y.width + c.from);
        p.wait();
        Product<T> by_W{features, y.width, count, p.w + table, 1, features, arrived, y.width, 1, p.g + W, y.width};
        if (b >= 0) by_W.sums = p.g + b;
        by_W.whole = false;
        shared_product(p, by_W, true);
        Product<T> by_table{count, features, y.width, arrived, y.width, 1, p.w + W, 1, y.width, p.g + table, features};
        by_table.whole = false;
        shared_product(p, by_table);
        if (!wants_input) return;
        const Range r = p.rows(x);
        std::memset(x.gradient + r.from * x.ld, 0, size_t(r.count() * x.ld) * sizeof(T));
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_table = table <= at && at < table + count * features, of_b = b >= 0 && b <= at && at < b + y.width;
        const long out = of_b ? at - b : (at - W) % y.width, row = (at - table) / features, in = (at - table) % features;
        for (long i = 0; i < p.samples * y.rows; ++i) {
            const T* const dy = y.gradient + i * y.ld;
            const long index = long(index_at(i));
            double sum = 0;
            if (of_b) sum = dy[out];
            else if (!of_table) sum = double(dy[out]) * p.w[table + index * features + (at - W) / y.width];
            else
                for (long n = 0; index == row && n < y.width; ++n) sum += double(dy[n]) * p.w[W + in * y.width + n];
            to[i / y.rows] += sum;
        }
    }

  private:
    INLINE T index_at(long i) const { return x.value[i / x.width * x.ld + i % x.width]; }
    // The products of rows of the table.
    Product<T> product_of(const Pass<T>& p, long row, long rows, T* to, long ld) const {
        Product<T> work{rows, y.width, features, p.w + table + row * features, features, 1, p.w + W, y.width, 1, to, ld};
        work.bias = b < 0 ? nullptr : p.w + b;
        work.whole = false;
        work.pack = p.pack;
        return work;
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(embedding_dense, EmbeddingDense)
